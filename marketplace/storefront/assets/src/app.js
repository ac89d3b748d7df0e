// Every page works without this file; it saves reloads and a few key presses.
import "htmx.org";
import { enableCopy } from "./copy.js";
import { enableMenus } from "./menus.js";
import { foldRail } from "./rail.js";
import { enableTheme } from "./theme.js";
import { enableTimes } from "./times.js";
import { enableEarnings } from "./earnings.js";

document.documentElement.classList.add("js");
enableCopy();
enableMenus();
enableTheme();
enableTimes();
foldRail();
enableEarnings();
