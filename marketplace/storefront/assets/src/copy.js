// <button data-copy="ID"> copies the text of the element with that id and says so to screen readers.
export function enableCopy() {
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button[data-copy]");
    if (!button) return;
    const source = document.getElementById(button.dataset.copy);
    const label = button.querySelector("[data-label]");
    try {
      await navigator.clipboard.writeText(source.textContent.trim());
      say(label, "Copied");
    } catch {
      select(source);
      say(label, "Press Ctrl+C");
    }
  });
}

function say(label, text) {
  const before = label.dataset.before ?? label.textContent;
  label.dataset.before = before;
  label.textContent = text;
  clearTimeout(Number(label.dataset.timer));
  label.dataset.timer = setTimeout(() => (label.textContent = before), 2500);
}

function select(element) {
  const range = document.createRange();
  range.selectNodeContents(element);
  const selection = getSelection();
  selection.removeAllRanges();
  selection.addRange(range);
}
