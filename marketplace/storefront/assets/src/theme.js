// The theme is a cookie that the server reads, so that a page never flashes; without a cookie the system decides.
const YEAR_SECONDS = 31_536_000;

export function enableTheme() {
  document.addEventListener("submit", (event) => {
    if (!event.target.matches("form[data-theme-toggle]")) return;
    event.preventDefault();
    const next = isDark() ? "paper" : "soil";
    document.documentElement.dataset.theme = next;
    const secure = location.protocol === "https:" ? "; Secure" : "";
    document.cookie = `theme=${next}; Path=/; Max-Age=${YEAR_SECONDS}; SameSite=Lax${secure}`;
    document.dispatchEvent(new CustomEvent("fallow:theme"));
  });
}

export function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "soil" : matchMedia("(prefers-color-scheme: dark)").matches;
}
