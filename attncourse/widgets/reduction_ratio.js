// Left (or above): what each stage pays, in weights. Right (or below): what all stages cost together, against r.
// data is (networks, ratios, stages, 2): hidden width and weights.

const count = (n) => n.toLocaleString("en-US");
const percent = (x) => `${Number((100 * x).toPrecision(3))}%`;

function draw(svg, { width, state, data, shape, meta, controls }) {
  const [, ratios, stages] = shape;
  const at = (network, ratio, stage, what) => data[((network * ratios + ratio) * stages + stage) * 2 + what];
  const total = (network, ratio) =>
    meta.networks[network].channels.reduce((sum, _, stage) => sum + at(network, ratio, stage, 1), 0);

  const wide = width >= 560;
  const barsWidth = wide ? width * 0.56 : width;
  const top = drawStages(svg, barsWidth, meta.networks[state.network], total(state.network, state.r),
    (stage, what) => at(state.network, state.r, stage, what));
  const left = wide ? barsWidth + 24 : 0;
  const start = wide ? 0 : top + 18;
  const costs = meta.networks.map((network, n) =>
    controls[0].options.map((_, ratio) => total(n, ratio) / network.parameters));
  const height = drawCosts(svg, { left, start, width: width - left, costs, state, meta, ratios: controls[0].options });
  return Math.max(top, start + height);
}

// One row per stage: its name and widths, then its bar with the number behind it. Returns the height used.
function drawStages(svg, width, network, total, at) {
  add(svg, "text", { x: 0, y: 13, class: "strong" }, "Weights added, by stage");
  const most = Math.max(...network.channels.map((_, stage) => at(stage, 1)));
  network.channels.forEach((channels, stage) => {
    const y = 36 + 46 * stage;
    const weights = at(stage, 1);
    const length = Math.max(1, (width - 138) * weights / most); // 138 px for the longest number
    const widths = `${channels} → ${at(stage, 0)} → ${channels}`;
    const blocks = network.blocks[stage] > 1 ? `, in ${network.blocks[stage]} blocks` : "";
    add(svg, "text", { x: 0, y, class: "quiet" }, `${network.stages[stage]}: ${widths}${blocks}`);
    add(svg, "rect", { x: 0, y: y + 6, width: length, height: 18, rx: 2, class: "mark" });
    add(svg, "text", { x: length + 7, y: y + 19.5 }, `${count(weights)} (${percent(weights / total)})`);
  });
  return 16 + 46 * network.channels.length;
}

// The extra weights as a share of the plain network, both axes logarithmic; the other networks stand behind, pale.
function drawCosts(svg, { left, start, width, costs, state, meta, ratios }) {
  const [x0, x1, y0, y1] = [left + 42, left + width - 76, start + 30, start + 182];
  const [low, high] = [Math.log10(2e-4), Math.log10(2.5)];
  const x = (ratio) => x0 + (x1 - x0) * ratio / (ratios.length - 1);
  const y = (share) => y1 + (y0 - y1) * (Math.log10(share) - low) / (high - low);
  add(svg, "text", { x: left, y: start + 13, class: "strong" }, "Total, in % of the plain network");
  for (const share of [0.001, 0.01, 0.1, 1]) {
    add(svg, "line", { x1: x0 - 6, x2: x1 + 6, y1: y(share), y2: y(share), class: "grid" });
    add(svg, "text", { x: x0 - 11, y: y(share) + 4, class: "quiet", "text-anchor": "end" }, percent(share));
  }
  ratios.forEach((r, ratio) => {
    const tone = ratio === state.r ? "strong" : "quiet";
    add(svg, "text", { x: x(ratio), y: y1 + 20, class: tone, "text-anchor": "middle" }, r);
  });
  add(svg, "text", { x: (x0 + x1) / 2, y: y1 + 38, class: "quiet", "text-anchor": "middle" }, "reduction ratio r");
  const order = [...costs.keys()].sort((a, b) => (a === state.network) - (b === state.network)); // the chosen on top
  for (const n of order) {
    const chosen = n === state.network;
    const points = costs[n].map((share, ratio) => `${x(ratio)},${y(share)}`).join(" ");
    add(svg, "polyline", { points, class: chosen ? "trend chosen" : "trend" });
    const end = { x: x1 + 7, y: y(costs[n].at(-1)) + 4, class: chosen ? "strong" : "quiet" };
    add(svg, "text", end, meta.networks[n].short);
    if (!chosen) continue;
    costs[n].forEach((share, ratio) => add(svg, "circle", {
      cx: x(ratio), cy: y(share), r: ratio === state.r ? 6 : 3.5, class: ratio === state.r ? "mark" : "mark pale",
    }));
    const share = costs[n][state.r];
    // up and to the right, where a falling line leaves room
    add(svg, "text", { x: x(state.r) + 5, y: y(share) - 11, class: "strong halo" }, `+${percent(share)}`);
  }
  return y1 + 44 - start;
}
