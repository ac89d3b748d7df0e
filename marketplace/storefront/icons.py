"""Our own icons: what goes inside a 20 × 20 <svg>; strokes take the colour of the text."""

from __future__ import annotations

ICONS = {
    "logo": (
        '<rect x="1.5" y="1.5" width="17" height="17" rx="4"/>'
        '<path d="M2 15.5c4-2.6 12-2.6 16 0M2 12c4-2.6 12-2.6 16 0"/><path d="M10 10V5.6M10 7.4c2.6 0 3.6-1.3 3.6-3.2'
        'M10 8.8c-2.4 0-3.4-1.1-3.4-2.8"/>'
    ),
    "check": '<path d="m4 10.5 4 4 8-9"/>',
    "cross": '<path d="m5 5 10 10M15 5 5 15"/>',
    "dot": '<circle cx="10" cy="10" r="4"/>',
    "ring": '<circle cx="10" cy="10" r="6"/>',
    "moving": '<path d="M16 10a6 6 0 1 1-2-4.5M14 2.5v3h-3"/>',
    "pause": '<path d="M7 5v10M13 5v10"/>',
    "clock": '<circle cx="10" cy="10" r="7"/><path d="M10 6v4.3l3 1.7"/>',
    "warning": '<path d="M10 3 2.5 16.5h15zM10 8v4M10 14.2v.3"/>',
    "info": '<circle cx="10" cy="10" r="7.5"/><path d="M10 9v5M10 6.2v.3"/>',
    "copy": '<rect x="7" y="7" width="9.5" height="9.5" rx="1.5"/><path d="M13 4.5h-8A1.5 1.5 0 0 0 3.5 6v7.5"/>',
    "theme": '<circle cx="10" cy="10" r="6.5"/><path d="M10 3.5a6.5 6.5 0 0 1 0 13z" fill="currentColor"/>',
    "menu": '<path d="M3 5.5h14M3 10h14M3 14.5h14"/>',
    "down": '<path d="m6 8 4 4 4-4"/>',
    "firm": (
        '<path d="M4 17V4.5h7V17M11 8.5h5V17M2.5 17h15M6.5 7.5h2M6.5 10.5h2M6.5 13.5h2M13.5 11.5v.1M13.5 14.3v.1"/>'
    ),
    "card": (
        '<rect x="2" y="5" width="16" height="9" rx="1.5"/><circle cx="7" cy="9.5" r="2.4"/>'
        '<circle cx="13.3" cy="9.5" r="2.4"/><path d="M5 14v2.5M8 14v2.5M11 14v2.5"/>'
    ),
    "node": (
        '<rect x="3" y="3.5" width="14" height="5.5" rx="1.2"/><rect x="3" y="11" width="14" height="5.5" rx="1.2"/>'
        '<path d="M6 6.2v.1M6 13.7v.1M9.5 6.3H14M9.5 13.8H14"/>'
    ),
    "key": '<circle cx="6.5" cy="13" r="3.2"/><path d="m9 10.7 7-7M13 6.7l2.4 2.4"/>',
    "wallet": '<path d="M3 6.5h13a1 1 0 0 1 1 1V15a1 1 0 0 1-1 1H3zM3 6.5l10-3v3M13.7 11.2v.1"/>',
    "search": '<circle cx="8.7" cy="8.7" r="5.2"/><path d="m12.7 12.7 4.3 4.3"/>',
    "sprout": (
        '<path d="M10 17.5V8M10 11c4 0 6-2.2 6-6-4 0-6 2.2-6 6zM10 13.5c-3.6 0-5.5-1.8-5.5-5 3.6 0 5.5 1.8 5.5 5z"/>'
    ),
    "people": (
        '<circle cx="7" cy="7" r="3"/><path d="M1.8 16.5c.4-3.4 2.4-5 5.2-5s4.8 1.6 5.2 5M13 4.300a3 3'
        ' 0 0 1 0 5.500M14.5 12c2.1.6 3.4 2.1 3.7 4.5"/>'
    ),
    "plus": '<path d="M10 4v12M4 10h12"/>',
    "arrow": '<path d="M4 10h12M11.5 5.5 16 10l-4.5 4.5"/>',
    "shield": '<path d="M10 2.5 16.5 5v4.500c0 4-2.6 6.7-6.5 8-3.9-1.3-6.5-4-6.5-8V5zM7 10l2.2 2.200L13.2 8"/>',
    "wrench": (
        '<path d="M12.5 3.200a4.3 4.3 0 0 0-5.2 5.700l-4.7 4.7 2.8 2.8 4.7-4.700a4.3 4.3 0 0 0'
        ' 5.7-5.200l-2.6 2.6-2.7-.6-.6-2.700z"/>'
    ),
    "exit": '<path d="M8 3.500H4.500v13H8M12 6.500l3.5 3.5-3.5 3.500M15.5 10H8"/>',
}
