// Left the photograph under the stretched map, with an outline at the threshold; right the map itself.
// data is bytes, flat: all photographs (side, side, 3); then for each question and layer a map (h, w), highest 255.

const shown = new WeakMap(); // an svg's two images: kept, since a new one flashes until its browser has decoded it

function draw(svg, { width, state, data, meta }) {
  const { side } = meta;
  const [rows, columns] = meta.sizes[state.layer];
  const photo = data.subarray(meta.photo[state.question] * side * side * 3);
  const map = mapOf(data, meta, state);
  const whole = stretch(map, rows, columns, side);
  const opacity = meta.opacities[state.opacity] / 100;

  const under = (i, j, k) => {
    const at = (i * side + j) * 3;
    return photo[at + k] * (1 - opacity) + (photo[at] + photo[at + 1] + photo[at + 2]) / 3 * opacity;
  };
  const over = (i, j, k) => {
    const cover = opacity * whole[i * side + j];
    return under(i, j, k) * (1 - cover) + colour(meta.colours, whole[i * side + j], k) * cover;
  };
  const pictures = [
    paint(side, side, over), paint(rows, columns, (i, j, k) => colour(meta.colours, map[i * columns + j] / 255, k)),
  ];
  const [gap, top] = [16, 22];
  const beside = width >= 420;
  const size = beside ? (width - gap) / 2 : width;
  if (!shown.has(svg)) {
    const style = ["", "image-rendering: pixelated"]; // the map shows its positions
    shown.set(svg, style.map((each) => add(svg, "image", { preserveAspectRatio: "none", style: each })));
  }
  const titles = ["stretched over the photograph", "the map itself"];
  const places = [0, 1].map((n) => [beside ? n * (size + gap) : 0, (beside ? 0 : n * (size + top + 10)) + top]);
  shown.get(svg).forEach((image, n) => {
    const [x, y] = places[n];
    add(svg, "text", { x, y: y - 8, class: "quiet" }, titles[n]);
    const wanted = { x, y, width: size, height: size, href: pictures[n] };
    for (const [name, value] of Object.entries(wanted)) image.setAttribute(name, value);
    svg.append(image);
    add(svg, "rect", { x: x - 0.5, y: y - 0.5, width: size + 1, height: size + 1, class: "frame" });
  });
  if (Math.max(...map) > 0) {
    const threshold = meta.thresholds[state.threshold] / 100;
    const path = outline((i, j) => whole[i * side + j] >= threshold, side, size / side);
    for (const style of ["stroke: #000; stroke-width: 3", "stroke: #fff; stroke-width: 1.4"]) { // seen on any colour
      const [x, y] = places[0];
      add(svg, "path", { d: path, transform: `translate(${x} ${y})`, style: `fill: none; ${style}` });
    }
    ring(svg, places[1], map, rows, columns, size);
  }
  return places[1][1] + size + 2;
}

// The bytes of the chosen map, in the order in which Python laid them.
function mapOf(data, meta, state) {
  const lengths = meta.sizes.map(([h, w]) => h * w);
  const perQuestion = lengths.reduce((sum, length) => sum + length, 0);
  const before = lengths.slice(0, state.layer).reduce((sum, length) => sum + length, 0);
  const start = meta.photos * meta.side * meta.side * 3 + state.question * perQuestion + before;
  return data.subarray(start, start + lengths[state.layer]);
}

// From bytes (rows, columns) to side × side values from 0 to 1: bilinear, corners not aligned, as stretch in gradcam.py.
function stretch(map, rows, columns, side) {
  const along = (size) => Array.from({ length: side }, (_, k) => {
    const at = Math.min(Math.max((k + 0.5) * size / side - 0.5, 0), size - 1);
    const low = Math.floor(at);
    return [low, Math.min(low + 1, size - 1), at - low];
  });
  const [down, across] = [along(rows), along(columns)];
  const values = new Float32Array(side * side);
  down.forEach(([i0, i1, p], i) => across.forEach(([j0, j1, q], j) => {
    const row = (r) => map[r * columns + j0] * (1 - q) + map[r * columns + j1] * q;
    values[i * side + j] = (row(i0) * (1 - p) + row(i1) * p) / 255;
  }));
  return values;
}

function colour(colours, value, k) {
  const place = value * (colours.length - 1);
  const low = Math.min(Math.floor(place), colours.length - 2);
  return colours[low][k] + (colours[low + 1][k] - colours[low][k]) * (place - low);
}

// Every edge between a pixel inside and one outside, and along the picture's border.
function outline(inside, side, pixel) {
  const within = (i, j) => i >= 0 && j >= 0 && i < side && j < side && inside(i, j);
  const parts = [];
  const at = (n) => (n * pixel).toFixed(1);
  for (let i = 0; i <= side; i++) {
    for (let j = 0; j <= side; j++) {
      if (within(i, j) !== within(i - 1, j)) parts.push(`M${at(j)} ${at(i)}H${at(j + 1)}`);
      if (within(i, j) !== within(i, j - 1)) parts.push(`M${at(j)} ${at(i)}V${at(i + 1)}`);
    }
  }
  return parts.join("");
}

// A frame around the map's highest position.
function ring(svg, [x, y], map, rows, columns, size) {
  const at = map.indexOf(Math.max(...map));
  const [i, j] = [Math.floor(at / columns), at % columns];
  const place = { x: x + j * size / columns, y: y + i * size / rows, width: size / columns, height: size / rows };
  add(svg, "rect", { ...place, style: "fill: none; stroke: #fff; stroke-width: 2.5" });
  add(svg, "rect", { ...place, class: "ring" });
}
