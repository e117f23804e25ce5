// Two gates on one channel of a small map, step by step, and the difference from the other order.
// data is (ECA strengths, spatial strengths, orders, C + H·W): C gates of channels, then the spatial gate.

function draw(svg, { width, state, data, shape, meta }) {
  const [, spatials, orders, length] = shape;
  const [C, H, W] = [meta.map.length, meta.map[0].length, meta.map[0][0].length];
  const gatesOf = (order) => {
    const from = ((state.eca * spatials + state.spatial) * orders + order) * length;
    return { s: [...data.slice(from, from + C)], M: [...data.slice(from + C, from + length)] };
  };
  const x = meta.map[state.channel].flat();
  const { s, M } = gatesOf(state.order);
  const other = gatesOf(meta.other[state.order]);
  const own = s[state.channel];
  const y = x.map((value, p) => value * own * M[p]);
  const apart = x.map((value, p) => Math.abs(y[p] - value * other.s[state.channel] * other.M[p]));

  const grid = (title, values, most, tone = "up") => ({ title, values, rows: H, columns: W, most, tone });
  const eca = { title: "ECA's gates", values: s, rows: C, columns: 1, most: 1, tone: "up", chosen: state.channel };
  const spatial = grid("spatial gate", M, 1);
  const between = [
    () => grid("after ECA", x.map((value) => value * own), largest(x)),
    () => grid("after spatial", x.map((value, p) => value * M[p]), largest(x)),
    () => grid("both gates", M.map((value) => value * own), 1),
  ][state.order]();
  const middle = state.order === 1 ? [spatial, between, eca] : state.order === 0 ? [eca, between, spatial]
    : [eca, spatial, between];
  const panels = [grid(`channel ${state.channel}`, x, largest(x)), ...middle, grid("output", y, largest(x)),
    grid("difference", apart, Math.max(largest(apart), 1e-9), "down")];

  const columns = width >= 520 ? 6 : 3;
  const gap = 14;
  const side = (width - gap * (columns - 1)) / columns;
  panels.forEach((panel, n) => {
    const [left, top] = [(n % columns) * (side + gap), Math.floor(n / columns) * (side + 62)];
    drawPanel(svg, panel, left, top + 22, side, n);
  });
  return Math.ceil(panels.length / columns) * (side + 62) - 18;
}

const largest = (values) => Math.max(...values);

// A grid of cells, the darker the larger, from 0 to `most`.
function drawPanel(svg, { title, values, rows, columns, most, tone, chosen }, left, top, side, n) {
  add(svg, "text", { x: left, y: top - 8, class: n === 4 ? "strong" : "quiet" }, title);
  const [w, h] = [side / columns, side / rows];
  values.forEach((value, p) => {
    const [row, column] = [Math.floor(p / columns), p % columns];
    add(svg, "rect", {
      x: left + column * w, y: top + row * h, width: w + 0.5, height: h + 0.5, class: tone,
      "fill-opacity": Math.min(1, value / most).toFixed(3),
    });
    if (chosen === undefined) return;
    const label = { x: left + side / 2, y: top + (row + 0.5) * h + 4, "text-anchor": "middle", class: "strong halo" };
    add(svg, "text", label, `${p}: ${value.toFixed(2)}`);
  });
  add(svg, "rect", { x: left, y: top, width: side, height: side, class: "frame" });
  if (chosen !== undefined) {
    add(svg, "rect", { x: left + 2, y: top + chosen * h + 2, width: side - 4, height: h - 4, class: "frame chosen" });
  }
  const scale = tone === "down" ? `at most ${largest(values).toFixed(3)}` : `0 to ${Number(most.toFixed(2))}`;
  add(svg, "text", { x: left, y: top + side + 17, class: "quiet" }, scale);
}
