// The filters stand open beside the results on a desk; on a phone they would hide them, so they begin closed there.
export function foldRail() {
  if (matchMedia("(min-width: 64rem)").matches) return;
  for (const rail of document.querySelectorAll("details[data-rail]")) rail.open = false;
}
