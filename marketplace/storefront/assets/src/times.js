// Keeps "12 s ago" and "4 min left" true between two answers of the server: <time data-relative datetime="…">.
const STEPS = [
  [60, 1, "s"],
  [3600, 60, "min"],
  [172_800, 3600, "h"],
  [Infinity, 86_400, "d"],
];

export function enableTimes() {
  setInterval(() => {
    if (document.hidden) return;
    for (const element of document.querySelectorAll("time[data-relative]")) {
      const text = relative((Date.parse(element.dateTime) - Date.now()) / 1000, element.dataset.relative);
      if (element.textContent !== text) element.textContent = text;
    }
  }, 1000);
}

function relative(seconds, kind) {
  if (kind === "left") return seconds <= 0 ? "time is up" : `${twoUnits(seconds)} left`;
  return seconds > 0 ? `in ${span(seconds)}` : seconds > -1 ? "now" : `${span(-seconds)} ago`;
}

function twoUnits(seconds) {
  const parts = [[86_400, "d"], [3600, "h"], [60, "min"], [1, "s"]].flatMap(([unit, name]) => {
    const number = Math.floor(seconds / unit);
    seconds -= number * unit;
    return number ? [`${number} ${name}`] : [];
  });
  return parts.slice(0, 2).join(" ") || "0 s";
}

function span(seconds) {
  const [, unit, name] = STEPS.find(([below]) => seconds < below);
  return `${Math.floor(seconds / unit)} ${name}`;
}
