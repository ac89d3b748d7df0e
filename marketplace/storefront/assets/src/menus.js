// <details data-menu> closes on Escape and on a click elsewhere; the burger shows the navigation on a phone.
export function enableMenus() {
  document.addEventListener("click", (event) => {
    for (const menu of document.querySelectorAll("details[data-menu][open]")) {
      if (!menu.contains(event.target)) menu.open = false;
    }
    const burger = event.target.closest("[data-burger]");
    if (burger) toggleNavigation(burger, event);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const menu of document.querySelectorAll("details[data-menu][open]")) {
      menu.open = false;
      menu.querySelector("summary").focus();
    }
  });
}

function toggleNavigation(burger, event) {
  event.preventDefault();
  const open = document.getElementById("navigation").classList.toggle("open");
  burger.setAttribute("aria-expanded", String(open));
}
