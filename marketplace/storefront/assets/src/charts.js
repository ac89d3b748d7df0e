// Live charts: <div data-chart-source="URL"> asks the URL every few seconds and draws each figure[data-series] in it.
// The answer is {"times": [unix seconds], "series": {name: [[numbers of card 0], [card 1], …]}}.
import uPlot from "uplot";

const LINES = ["--color-primary", "--color-info", "--color-warning", "--color-error"];
const DASHES = [[], [6, 4], [2, 3], [8, 3, 2, 3]];
const POLL_MS = 5000;
const FAILED_POLL_MS = 15_000;

for (const box of document.querySelectorAll("[data-chart-source]")) watch(box);

function watch(box) {
  const figures = [...box.querySelectorAll("figure[data-series]")].map((element) => ({ element, plot: null }));
  let last = null;
  const redraw = () => last && figures.forEach((figure) => draw(figure, last, true));
  document.addEventListener("fallow:theme", redraw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  new ResizeObserver(() => figures.forEach(fit)).observe(box);
  poll();

  async function poll() {
    let wait = POLL_MS;
    try {
      if (!document.hidden) last = await ask(box.dataset.chartSource);
      if (last) figures.forEach((figure) => draw(figure, last, false));
      setStatus(box, "");
    } catch {
      wait = FAILED_POLL_MS;
      setStatus(box, "No new readings: trying again.");
    }
    if (box.isConnected && !last?.final) setTimeout(poll, wait);
  }
}

async function ask(url) {
  const response = await fetch(url, { headers: { Accept: "application/json" } });
  if (!response.ok) throw new Error(`telemetry answered ${response.status}`);
  return response.json();
}

function setStatus(box, text) {
  const status = box.querySelector("[data-chart-status]");
  if (status && status.textContent !== text) status.textContent = text;
}

function draw(figure, answer, anew) {
  const lines = answer.series[figure.element.dataset.series] ?? [];
  const data = [answer.times, ...lines];
  writeLatest(figure.element, lines);
  writeTable(figure.element, answer.times, lines);
  if (answer.times.length < 2) return;
  if (figure.plot && (anew || figure.plot.series.length !== data.length)) {
    figure.plot.destroy();
    figure.plot = null;
  }
  if (figure.plot) figure.plot.setData(data);
  else figure.plot = new uPlot(options(figure.element, lines.length), data, figure.element.querySelector(".plot"));
}

function fit({ element, plot }) {
  const width = element.querySelector(".plot").clientWidth;
  if (plot && width && Math.abs(plot.width - width) > 1) plot.setSize({ width, height: plot.height });
}

function options(element, count) {
  const style = getComputedStyle(document.documentElement);
  const axis = { stroke: style.getPropertyValue("--color-base-content"), grid: { stroke: style.getPropertyValue("--color-base-300"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
  const box = element.querySelector(".plot");
  const maximum = Number(element.dataset.maximum);
  return {
    width: box.clientWidth,
    height: box.clientHeight,
    legend: { show: false },
    cursor: { drag: { x: false, y: false } },
    scales: { y: { range: (_plot, _low, high) => [0, maximum || Math.max(1, (high ?? 1) * 1.1)] } },
    axes: [{ ...axis, size: 28, space: 70, values: (_plot, times) => times.map(clockTime) }, { ...axis, size: 52 }],
    series: [
      {},
      ...Array.from({ length: count }, (_, index) => ({
        stroke: style.getPropertyValue(LINES[index % LINES.length]),
        dash: DASHES[Math.floor(index / LINES.length) % DASHES.length],
        width: 2,
        points: { show: false },
      })),
    ],
  };
}

function clockTime(seconds) {
  return new Date(seconds * 1000).toISOString().slice(11, 16);
}

function writeLatest(element, lines) {
  const values = lines.map((line) => line.at(-1)).filter((value) => value !== null && value !== undefined);
  const text = values.length ? `${values.join(" · ")} ${element.dataset.unit}` : "no reading yet";
  element.querySelector(".latest").textContent = text;
}

function writeTable(element, times, lines) {
  const body = element.querySelector("tbody");
  const recent = times.slice(-12).map((time, offset) => [time, Math.max(0, times.length - 12) + offset]);
  body.replaceChildren(
    ...recent.reverse().map(([time, index]) => {
      const row = document.createElement("tr");
      const values = lines.map((line) => line[index] ?? "–").join(" · ");
      for (const text of [new Date(time * 1000).toISOString().slice(11, 19), values]) {
        row.insertCell().textContent = text;
      }
      return row;
    }),
  );
}
