// How the measured difference of two means is spread over many studies, without a true difference and with one.
// data is (runs, deviations, differences, 2): standard error and power. Both curves have the same height, not area.

const percent = (share) => (share > 0.99 ? "more than 99%" : `${(100 * share).toFixed(0)}%`);

function draw(svg, { width, state, data, shape, meta, controls }) {
  const [, deviations, differences] = shape;
  const at = ((state.runs * deviations + state.deviation) * differences + state.difference) * 2;
  const [error, power] = [data[at], data[at + 1]];
  const difference = meta.differences[state.difference];
  const deviation = meta.deviations[state.deviation];
  const runs = controls[0].options[state.runs];

  // The axis does not move with runs and difference, so that the curves do.
  const [low, high] = [-2.2 * deviation, Math.max(...meta.differences) + 2.2 * deviation];
  const [y0, y1] = [90, 258];
  const x = (value) => width * (value - low) / (high - low);
  const y = (share) => y1 + (y0 - y1) * share;
  const bell = (mean) => (value) => Math.exp(-(((value - mean) / error) ** 2) / 2);
  const beyond = meta.beyond * error;
  const outside = [[low, -beyond], [beyond, high]];

  drawLegend(svg, runs, difference, power, meta.level);
  drawAxis(svg, width, low, high, x, y1);
  for (const edge of [-beyond, beyond]) {
    add(svg, "line", { x1: x(edge), x2: x(edge), y1: y0 - 24, y2: y1, class: "leader" });
  }
  for (const [mean, tone] of difference ? [[difference, "up"], [0, "quiet"]] : [[0, "quiet"]]) {
    for (const [from, to] of outside) {
      const d = `${curve(bell(mean), from, to, x, y)}L${x(to)},${y1}L${x(from)},${y1}Z`;
      add(svg, "path", { d, class: "shade " + tone });
    }
    add(svg, "path", { d: curve(bell(mean), low, high, x, y), class: "curve " + tone });
  }
  const room = x(beyond) + 136 < width; // for the words, on the right of their line
  const words = { x: x(beyond) + (room ? 6 : -6), y: y0 - 14, "text-anchor": room ? "start" : "end", class: "quiet" };
  add(svg, "text", words, `found beyond ±${beyond.toFixed(2)}`);
  return y1 + 44;
}

function drawLegend(svg, runs, difference, power, level) {
  add(svg, "text", { x: 0, y: 13, class: "strong" }, `What studies with ${runs} runs a side measure`);
  const lines = [["quiet", "without a true difference", level]];
  if (difference) lines.push(["up", `with one of ${difference} point${difference === 1 ? "" : "s"}`, power]);
  lines.forEach(([tone, what, share], k) => {
    add(svg, "text", { x: 0, y: 33 + 18 * k, class: tone }, `● ${what}: ${percent(share)} find one`);
  });
}

function drawAxis(svg, width, low, high, x, y1) {
  const step = width / (high - low) < 40 ? 2 : 1;
  add(svg, "line", { x1: 0, x2: width, y1, y2: y1, class: "grid" });
  for (let value = Math.ceil(low / step) * step; value <= high; value += step) {
    add(svg, "line", { x1: x(value), x2: x(value), y1, y2: y1 + 5, class: "grid" });
    const number = String(value).replace("-", "−");
    add(svg, "text", { x: x(value), y: y1 + 20, class: "quiet", "text-anchor": "middle" }, number);
  }
  const title = "measured difference of the means, in points";
  add(svg, "text", { x: width / 2, y: y1 + 38, class: "quiet", "text-anchor": "middle" }, title);
}

function curve(height, from, to, x, y) {
  const steps = Math.max(1, Math.ceil(x(to) - x(from)) * 2); // half a pixel: a spike keeps its tip
  const points = Array.from({ length: steps + 1 }, (_, k) => from + (to - from) * k / steps);
  return `M${points.map((value) => `${x(value).toFixed(1)},${y(height(value)).toFixed(1)}`).join("L")}`;
}
