// One row per stage: a square for each residual block, with a bar where attention stands, and what the stage pays.
// data is (networks, blocks, places, 4 stages, 2): how many attention blocks a stage gets, and their parameters.

const count = (n) => n.toLocaleString("en-US");
const PLACES = ["standard", "pre", "post", "identity", "stage"]; // in the order of the control

function draw(svg, { width, state, data, shape, meta, controls }) {
  const network = meta.networks[state.network];
  const first = ((state.network * shape[1] + state.block) * shape[2] + state.place) * 8;
  const chosen = meta.sets[state.stages];
  const costs = [0, 1, 2, 3].map((s) => (chosen.includes(s) ? [data[first + 2 * s], data[first + 2 * s + 1]] : [0, 0]));
  const most = Math.max(...costs.map((cost) => cost[1]));
  const place = PLACES[state.place];

  costs.forEach(([blocks, parameters], s) => {
    const y = 14 + 80 * s;
    const side = Math.min(20, (width - 20) / network.layers[s] - 6);
    const name = width < 400 ? "" : ` ${controls[1].options[state.block]}`; // on a phone the control above says it
    const counted = blocks ? `, ${blocks} ×${name}` : "";
    add(svg, "text", { x: 0, y, class: blocks ? "strong" : "quiet" },
      `Stage ${s + 1}: ${meta.widths[state.network][state.place][s]}${counted}`);
    for (let n = 0; n < network.layers[s]; n++) {
      const x = 4 + n * (side + 6);
      add(svg, "rect", { x, y: y + 10, width: side, height: side, class: "frame" });
      if (blocks && place !== "stage") mark(svg, place, x, y + 10, side);
    }
    if (blocks && place === "stage") {
      const x = 4 + network.layers[s] * (side + 6);
      add(svg, "rect", { x: x - 2, y: y + 8, width: 4, height: side + 4, class: "down" });
    }
    const length = blocks ? Math.max(1, (width - 90) * parameters / most) : 0; // 90 px for the longest number
    add(svg, "rect", { x: 0, y: y + 39, width: length, height: 16, rx: 2, class: "mark" });
    const words = blocks ? `+${count(parameters)}` : "nothing";
    add(svg, "text", { x: length + 6, y: y + 51.5, class: blocks ? "" : "quiet" }, words);
  });
  return 80 * 4 - 8;
}

// In a square, the branch is its upper half and the shortcut its lower one; after it comes what follows the addition.
function mark(svg, place, x, y, side) {
  const [left, top, high] = {
    standard: [0.62, 0.1, 0.4], pre: [0.12, 0.1, 0.4], identity: [0.35, 0.55, 0.35], post: [1, -0.05, 1.1],
  }[place];
  const size = { width: Math.max(2.5, 0.22 * side), height: high * side };
  add(svg, "rect", { x: x + left * side, y: y + top * side, ...size, class: "down" });
}
