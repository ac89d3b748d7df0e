// Shows under an asking price what the seller earns after the fee. The server says the same again before it lists.
const MICROS = 1_000_000n;
const BASIS_POINTS = 10_000n;

export function enableEarnings() {
  document.addEventListener("input", (event) => {
    const output = event.target.closest("[data-earnings]") && document.getElementById(event.target.dataset.earnings);
    if (output) output.textContent = earned(event.target.value, BigInt(output.dataset.feeBasisPoints), output.dataset.unit);
  });
}

function earned(text, feeBasisPoints, unit) {
  const found = /^(\d{1,9})(?:\.(\d{0,6}))?$/.exec(text.trim());
  if (!found) return "Give a price, such as 12.50, to see what you earn.";
  const micros = BigInt(found[1]) * MICROS + BigInt((found[2] ?? "").padEnd(6, "0"));
  const fee = (micros * feeBasisPoints) / BASIS_POINTS;
  return `You earn ${decimal(micros - fee)} ${unit}; the fee is ${decimal(fee)}.`;
}

function decimal(micros) {
  const fraction = String(micros % MICROS).padStart(6, "0").replace(/0{1,4}$/, "");
  return `${micros / MICROS}.${fraction}`;
}
