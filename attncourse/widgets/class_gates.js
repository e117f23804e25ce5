// One stem per channel, from the mean of the classes (grey mark) to this class's mean gate (dot).
// data is (classes + 1, channels of all places side by side); its last row is the mean of the classes.

function draw(svg, { width, state, data, shape, meta, controls }) {
  const [rows, columns] = shape;
  const from = meta.widths.slice(0, state.place).reduce((sum, channels) => sum + channels, 0);
  const gate = (row, channel) => data[row * columns + from + channel];
  const number = [...Array(meta.widths[state.place]).keys()];
  const order = state.order === 0 ? number : meta.by_spread[state.place];

  const [x0, x1, y0, y1] = [34, width - 4, 44, 264];
  const step = (x1 - x0) / order.length;
  const x = (k) => x0 + step * (k + 0.5);
  const y = (value) => y1 + (y0 - y1) * value;

  drawLegend(svg, controls.find(({ name }) => name === "class").options[state.class]);
  for (const value of [0, 0.25, 0.5, 0.75, 1]) {
    add(svg, "line", { x1: x0, x2: x1, y1: y(value), y2: y(value), class: "grid" });
    add(svg, "text", { x: x0 - 7, y: y(value) + 4, class: "quiet", "text-anchor": "end" }, value);
  }
  const radius = Math.min(3.2, Math.max(1.4, step * 0.4));
  const difference = order.map((channel) => gate(state.class, channel) - gate(rows - 1, channel));
  order.forEach((channel, k) => {
    const [own, mean] = [gate(state.class, channel), gate(rows - 1, channel)];
    const stem = add(svg, "g", { class: difference[k] < 0 ? "down" : "up" });
    add(stem, "title", {}, `channel ${channel}: ${own.toFixed(2)}, mean of the classes ${mean.toFixed(2)}`);
    add(stem, "line", { x1: x(k), x2: x(k), y1: y(mean), y2: y(own), "stroke-width": Math.min(2, radius) });
    add(stem, "line", { x1: x(k) - step * 0.4, x2: x(k) + step * 0.4, y1: y(mean), y2: y(mean), class: "mean" });
    add(stem, "circle", { cx: x(k), cy: y(own), r: radius, stroke: "none" });
  });
  // The two extremes carry their channel's number, at the edge where no dot is hidden; the summary names three of each.
  const highest = difference.indexOf(Math.max(...difference));
  const lowest = difference.indexOf(Math.min(...difference));
  for (const [k, tone, baseline] of [[highest, "up", y0 + 12], [lowest, "down", y1 - 5]]) {
    if (Math.abs(difference[k]) < 0.005) continue; // would print as 0.00
    const anchor = k < order.length * 0.15 ? "start" : k > order.length * 0.85 ? "end" : "middle";
    const inner = baseline + (tone === "up" ? 4 : -14);
    add(svg, "line", { x1: x(k), x2: x(k), y1: inner, y2: y(gate(state.class, order[k])), class: "leader" });
    add(svg, "text", { x: x(k), y: baseline, class: tone, "text-anchor": anchor }, `channel ${order[k]}`);
  }
  drawChannelAxis(svg, state.order, number, x, [x0, x1, y1]);
  return y1 + 44;
}

function drawLegend(svg, name) {
  add(svg, "text", { x: 0, y: 13, class: "strong" }, `Mean gates for ${name}`);
  const second = add(svg, "text", { x: 0, y: 31 });
  for (const [words, tone] of [["above", "up"], ["below", "down"]]) {
    add(second, "tspan", { class: tone }, `● ${words}\u2002`);
  }
  add(second, "tspan", { class: "quiet" }, "— mean of the classes");
}

function drawChannelAxis(svg, order, number, x, [x0, x1, y1]) {
  const title = order === 0 ? "channel, counted from 0" : "channels, by difference between classes";
  add(svg, "text", { x: (x0 + x1) / 2, y: y1 + 37, class: "quiet", "text-anchor": "middle" }, title);
  const every = number.length > 64 && x1 - x0 < 500 ? 32 : 16;
  if (order === 0) {
    for (const k of number.filter((channel) => channel % every === 0)) {
      add(svg, "text", { x: x(k), y: y1 + 19, class: "quiet", "text-anchor": "middle" }, k);
    }
  } else {
    add(svg, "text", { x: x0, y: y1 + 19, class: "quiet" }, "← classes differ most");
    add(svg, "text", { x: x1, y: y1 + 19, class: "quiet", "text-anchor": "end" }, "least →");
  }
}
