// A photograph, the strength of its map before CBAM, the spatial gate and the strength after; below, the channel gates.
// data is bytes, flat: all photographs (height, width, 3); then for each place and photograph the channel gate (C) and
// four maps (H, W): strength before, after the channel gate, the spatial gate, the spatial gate with the channel off.

function draw(svg, { width, state, data, meta }) {
  const [withChannel, withSpatial] = [state.gates === 0 || state.gates === 1, state.gates === 0 || state.gates === 2];
  const [rows, columns] = meta.photo;
  const photo = data.subarray(state.photo * rows * columns * 3);
  const [channels, height, breadth] = meta.places[state.place];
  const [channel, before, scaled, spatial, alone] = parts(data, meta, state);

  const gate = (n) => (withSpatial ? (withChannel ? spatial : alone)[n] : 255);
  const strength = withChannel ? scaled : before;
  const grey = (value) => paint(height, breadth, (i, j) => value(i * breadth + j));
  const pictures = [
    paint(rows, columns, (i, j, k) => photo[(i * columns + j) * 3 + k]),
    grey((n) => before[n]), grey(gate), grey((n) => strength[n] * gate(n) / 255),
  ];
  const perRow = width >= 480 ? 4 : 2;
  const [gap, top] = [14, 22];
  const side = (width - gap * (perRow - 1)) / perRow;
  pictures.forEach((address, k) => {
    const [x, y] = [(k % perRow) * (side + gap), Math.floor(k / perRow) * (side + top + 8)];
    const off = k === 2 && !withSpatial ? " (off)" : "";
    add(svg, "text", { x, y: y + 13, class: k === 3 ? "strong" : "quiet" }, meta.titles[k] + off);
    add(svg, "image", {
      x, y: y + top, width: side, height: side, href: address, preserveAspectRatio: "none",
      style: "image-rendering: pixelated", // a map of 13 × 13 shows its positions
    });
    add(svg, "rect", { x: x - 0.5, y: y + top - 0.5, width: side + 1, height: side + 1, class: "frame" });
  });
  const bottom = (4 / perRow) * (side + top + 8) + 8;
  const gates = [...Array(channels).keys()].map((c) => (withChannel ? channel[c] / 255 : 1));
  return drawChannels(svg, width, bottom, gates, withChannel);
}

// The five arrays of one place and photograph, in the order in which Python laid them.
function parts(data, meta, state) {
  let start = meta.photos * meta.photo[0] * meta.photo[1] * 3;
  for (let place = 0; place < state.place; place++) {
    const [channels, height, breadth] = meta.places[place];
    start += meta.photos * (channels + 4 * height * breadth);
  }
  const [channels, height, breadth] = meta.places[state.place];
  const size = height * breadth;
  start += state.photo * (channels + 4 * size);
  const take = (from, length) => data.subarray(start + from, start + from + length);
  return [take(0, channels), ...[0, 1, 2, 3].map((k) => take(channels + k * size, size))];
}

// One bar per channel between 0 and 1, with a line at one half, where a fresh gate stands; pale when the gate is off.
// Returns the height used.
function drawChannels(svg, width, start, gates, on) {
  const [x0, x1, y0, y1] = [30, width - 2, start + 26, start + 118];
  add(svg, "text", { x: 0, y: start + 12, class: "quiet" }, on ? "channel gates" : "channel gates (off)");
  for (const value of [0, 0.5, 1]) {
    const y = y1 + (y0 - y1) * value;
    add(svg, "line", { x1: x0, x2: x1, y1: y, y2: y, class: "grid" });
    add(svg, "text", { x: x0 - 6, y: y + 4, class: "quiet", "text-anchor": "end" }, value);
  }
  const step = (x1 - x0) / gates.length;
  gates.forEach((gate, c) => {
    const bar = add(svg, "rect", {
      x: x0 + step * (c + 0.1), y: y1 + (y0 - y1) * gate, width: step * 0.8, height: (y1 - y0) * gate, class: "mark",
      "fill-opacity": on ? 1 : 0.25,
    });
    add(bar, "title", {}, `channel ${c}: ${gate.toFixed(2)}`);
  });
  const every = gates.length > 64 && width < 500 ? 32 : 16;
  gates.forEach((_, c) => {
    if (c % every) return;
    add(svg, "text", { x: x0 + step * (c + 0.5), y: y1 + 17, class: "quiet", "text-anchor": "middle" }, c);
  });
  add(svg, "text", { x: (x0 + x1) / 2, y: y1 + 35, class: "quiet", "text-anchor": "middle" }, "channel, counted from 0");
  return y1 + 42;
}
