// Above: the mean of each channel as a bar, and the window of the chosen channel with the kernel's weights under it.
// Below: the gate of every channel. data is (pictures, 1 + kernels, channels): means first, then gates per kernel.

const signed = (x) => x.toFixed(2).replace("-", "\u2212");

function draw(svg, { width, state, data, shape, meta }) {
  const [, rows, channels] = shape;
  const row = (which) => {
    const from = (state.photo * rows + which) * channels;
    return [...data.slice(from, from + channels)];
  };
  const means = row(0);
  const gates = row(1 + state.kernel);
  const kernel = meta.kernels[state.kernel];
  const half = (kernel.length - 1) / 2;

  const [x0, x1] = [40, width - 6];
  const slots = channels + 2 * half; // room for the zeros beyond both ends
  const step = (x1 - x0) / slots;
  const x = (channel) => x0 + step * (channel + half + 0.5);

  const bottom = drawMeans(svg, { means, kernel, half, chosen: state.channel, x, x0, x1, step });
  return drawGates(svg, { gates, chosen: state.channel, x, x0, x1, step, top: bottom + 18 });
}

function drawMeans(svg, { means, kernel, half, chosen, x, x0, x1, step }) {
  const [y0, y1] = [30, 170];
  const high = Math.max(0, ...means);
  const low = Math.min(0, ...means);
  const y = (value) => y0 + (y1 - y0) * (high - value) / (high - low || 1);
  add(svg, "text", { x: 0, y: 13, class: "strong" }, "Channel means z, and the window");
  add(svg, "rect", {
    x: x(chosen - half) - step / 2, y: y0 - 6, width: step * kernel.length, height: y1 - y0 + 12, class: "frame",
  });
  add(svg, "line", { x1: x0, x2: x1, y1: y(0), y2: y(0), class: "leader" });
  for (const value of [high, low].filter((value) => Math.abs(value) > 0.005)) {
    add(svg, "text", { x: x0 - 6, y: y(value) + 4, class: "quiet", "text-anchor": "end" }, signed(value));
  }
  means.forEach((mean, channel) => {
    const seen = Math.abs(channel - chosen) <= half;
    const bar = add(svg, "rect", {
      x: x(channel) - step * 0.38, width: step * 0.76, rx: 1,
      y: Math.min(y(mean), y(0)), height: Math.max(1, Math.abs(y(mean) - y(0))), class: seen ? "mark" : "shade",
      style: "fill-opacity: 0.8",
    });
    add(bar, "title", {}, `channel ${channel}: mean ${signed(mean)}`);
  });
  for (let channel = chosen - half; channel <= chosen + half; channel += 1) {
    if (channel >= 0 && channel < means.length) continue;
    if (step < 8) add(svg, "circle", { cx: x(channel), cy: y(0), r: 2, class: "down" }); // no room for a figure
    else add(svg, "text", { x: x(channel), y: y(0) - 4, class: "down", "text-anchor": "middle" }, "0");
  }
  // The weights stand in one line below, in the order of the window: a slot is too narrow for a number.
  const words = `weights: ${kernel.map(signed).join(",  ")}`;
  const anchor = x(chosen) < x0 + 110 ? "start" : x(chosen) > x1 - 110 ? "end" : "middle";
  const at = anchor === "start" ? x0 : anchor === "end" ? x1 : x(chosen);
  add(svg, "text", { x: at, y: y1 + 24, class: "up", "text-anchor": anchor }, words);
  return y1 + 30;
}

function drawGates(svg, { gates, chosen, x, x0, x1, step, top }) {
  const [y0, y1] = [top + 28, top + 128];
  const y = (value) => y1 + (y0 - y1) * value;
  add(svg, "text", { x: 0, y: top + 8, class: "strong" }, "Gates: sigmoid of the weighted sum");
  for (const value of [0, 0.5, 1]) {
    add(svg, "line", { x1: x0, x2: x1, y1: y(value), y2: y(value), class: "grid" });
    add(svg, "text", { x: x0 - 6, y: y(value) + 4, class: "quiet", "text-anchor": "end" }, value);
  }
  const radius = Math.min(3.4, Math.max(1.6, step * 0.42));
  gates.forEach((gate, channel) => {
    if (channel === chosen) return;
    const dot = add(svg, "circle", {
      cx: x(channel), cy: y(gate), r: radius, class: "shade", style: "fill-opacity: 0.8",
    });
    add(dot, "title", {}, `channel ${channel}: gate ${gate.toFixed(2)}`);
  });
  add(svg, "circle", { cx: x(chosen), cy: y(gates[chosen]), r: 6, class: "down" });
  const left = x(chosen) > x1 - 60;
  add(svg, "text", {
    x: x(chosen) + (left ? -11 : 11), y: y(gates[chosen]) + 4, class: "down halo", "text-anchor": left ? "end" : "start",
  }, gates[chosen].toFixed(2));
  const every = gates.length > 64 && x1 - x0 < 500 ? 32 : gates.length > 24 ? 16 : 4;
  for (let channel = 0; channel < gates.length; channel += every) {
    add(svg, "text", { x: x(channel), y: y1 + 18, class: "quiet", "text-anchor": "middle" }, channel);
  }
  const title = { x: (x0 + x1) / 2, y: y1 + 36, class: "quiet", "text-anchor": "middle" };
  add(svg, "text", title, "channel, counted from 0");
  return y1 + 42;
}
