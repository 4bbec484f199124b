// The map of the timbre space: shade, contour lines, instruments, recordings, the point under the pointer and the path.
//
// It tells what it is asked for by events: "hover" (a place, or null), "pick" (a place), "path" (places), "move" (by key).

import { css, picture, prepare, theme } from "./colours.js";

const NEAR = 11; // pixels around an instrument that mean the instrument itself
const NODES = 8; // of a path
const LEVELS = 7;

export class TimbreMap extends EventTarget {
  constructor(canvas) {
    super();
    this.canvas = canvas;
    this.map = null;
    this.shade = null;
    this.pins = []; // { letter, at: [x, y], on }
    this.path = []; // places, while it is drawn or plays
    this.point = null;
    this.beat = null; // { at: [x, y], level }: what sounds now
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    canvas.addEventListener("pointerdown", (event) => this.#down(event));
    canvas.addEventListener("pointerup", (event) => this.#up(event));
    canvas.addEventListener("pointercancel", () => this.#drop());
    canvas.addEventListener("pointerleave", () => this.drag || this.#tell("hover", null));
    canvas.addEventListener("keydown", (event) => this.#key(event));
  }

  show(map) {
    this.map = map;
    this.shade = null;
    this.path = [];
    const { x, y } = map.instruments[0];
    this.point = [x, y];
    this.draw();
  }

  // A place as the command line writes it; an instrument's name where one is meant.
  text(place) {
    return this.near(place)?.name ?? `map@${place.map((value) => +value.toFixed(3)).join(",")}`;
  }

  near(place) {
    const [x, y] = this.#pixels(place);
    const distance = (other) => Math.hypot(...this.#pixels([other.x, other.y]).map((value, i) => value - [x, y][i]));
    const nearest = this.map.instruments.reduce((best, other) => (distance(other) < distance(best) ? other : best));
    return distance(nearest) <= NEAR ? nearest : null;
  }

  // A place in words.
  words(place) {
    const here = this.near(place);
    if (here) return here.name;
    const far = ({ x, y }) => Math.hypot(x - place[0], y - place[1]);
    const [a, b] = [...this.map.instruments].sort((one, other) => far(one) - far(other));
    return b ? `${a.name} / ${b.name}` : `near ${a.name}`;
  }

  value(place) {
    if (!this.shade) return null;
    const { columns, rows, values, unit } = this.shade;
    const [u, v] = this.#unit(place);
    const column = Math.round(Math.min(Math.max(u, 0), 1) * (columns - 1));
    return `${Math.round(values[Math.round(Math.min(Math.max(v, 0), 1) * (rows - 1)) * columns + column])} ${unit}`;
  }

  #unit([x, y]) {
    const { x: [left, right], y: [low, high] } = this.map;
    return [(x - left) / (right - left), (high - y) / (high - low)];
  }

  #pixels(place) {
    const [u, v] = this.#unit(place);
    return [u * this.canvas.clientWidth, v * this.canvas.clientHeight];
  }

  #place(event) {
    const box = this.canvas.getBoundingClientRect();
    const { x: [left, right], y: [low, high] } = this.map;
    const u = Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1);
    const v = Math.min(Math.max((event.clientY - box.top) / box.height, 0), 1);
    return [left + u * (right - left), high - v * (high - low)];
  }

  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  #move(event) {
    if (!this.map) return;
    const place = this.#place(event);
    this.point = place;
    if (this.drag) {
      const [x, y] = [event.clientX, event.clientY];
      if (this.drag.moved || Math.hypot(x - this.drag.x, y - this.drag.y) > 7) {
        this.drag.moved = true;
        this.drag.places.push(place);
        this.path = this.drag.places;
      }
    }
    this.#tell("hover", place);
    this.draw();
  }

  #down(event) {
    if (!this.map || event.button) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.drag = { x: event.clientX, y: event.clientY, places: [this.#place(event)], moved: false };
    this.#move(event);
  }

  #up(event) {
    const { drag } = this;
    if (!drag) return;
    this.drag = null;
    if (drag.moved && drag.places.length > 1) {
      this.path = evenly(drag.places, NODES);
      this.#tell("path", this.path);
    } else this.#tell("pick", this.#place(event));
    this.draw();
  }

  #drop() {
    this.drag = null;
    this.path = [];
    this.draw();
  }

  #key(event) {
    if (!this.map || event.ctrlKey || event.metaKey || event.altKey) return;
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    const { x: [left, right], y: [low, high] } = this.map;
    if (event.key in moves) {
      const step = (event.shiftKey ? 0.1 : 0.02) * (right - left);
      const [dx, dy] = moves[event.key];
      this.point = [
        Math.min(Math.max(this.point[0] + dx * step, left), right),
        Math.min(Math.max(this.point[1] + dy * step, low), high),
      ];
      this.#tell("hover", this.point);
      this.#tell("move", this.point);
    } else if (event.key === "Enter") {
      if (this.keyed?.length > 1) this.#tell("path", this.path);
      else this.#tell("pick", this.point);
      this.keyed = null;
    } else if (event.key === "p" || event.key === "P") {
      this.keyed = [...(this.keyed ?? []), this.point];
      this.path = this.keyed;
      this.#tell("node", this.keyed.length);
    } else if (event.key === "Escape") {
      this.keyed = null;
      this.path = [];
    } else return;
    event.preventDefault();
    event.stopPropagation();
    this.draw();
  }

  draw() {
    const { context: c, width, height } = prepare(this.canvas);
    if (!this.map || !width) return;
    const [ink, panel, accent] = ["ink", "panel", "accent"].map(css);
    if (this.shade) c.drawImage(this.#ground(width, height), 0, 0, width, height);
    c.font = `600 ${width < 480 ? 11 : 12.5}px system-ui, 'DejaVu Sans', sans-serif`;
    c.textBaseline = "middle";
    c.lineJoin = "round";
    this.#path(c, accent, panel);
    this.#instruments(c, ink, panel, width, height);
    for (const { letter, at, on } of this.pins) {
      const [x, y] = this.#pixels(at);
      disc(c, x, y, 9, on ? accent : panel, on ? css("on-accent") : accent, 1.5);
      c.fillStyle = on ? css("on-accent") : accent;
      c.textAlign = "center";
      c.fillText(letter, x, y + 0.5);
    }
    if (this.beat) {
      const [x, y] = this.#pixels(this.beat.at);
      c.globalAlpha = 0.35;
      disc(c, x, y, 12 + 60 * Math.min(this.beat.level, 0.5), accent);
      c.globalAlpha = 1;
      disc(c, x, y, 5, accent, panel, 2);
    }
    if (this.point) {
      const [x, y] = this.#pixels(this.point);
      c.lineWidth = 3.5;
      for (const colour of [panel, ink]) {
        c.strokeStyle = colour;
        c.beginPath();
        c.arc(x, y, 10, 0, 7);
        for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
          c.moveTo(x + 6 * dx, y + 6 * dy);
          c.lineTo(x + 14 * dx, y + 14 * dy);
        }
        c.stroke();
        c.lineWidth = 1.5;
      }
    }
  }

  // Shade and contours, drawn anew only when they change.
  #ground(width, height) {
    const key = [theme(), width, height, this.shade.by, this.map.model].join();
    if (this.ground?.key !== key) {
      const scale = window.devicePixelRatio || 1;
      this.ground = new OffscreenCanvas(Math.round(width * scale), Math.round(height * scale));
      const c = this.ground.getContext("2d");
      c.scale(scale, scale);
      this.#shading(c, width, height);
      this.ground.key = key;
    }
    return this.ground;
  }

  #shading(c, width, height) {
    const { columns, rows, values } = this.shade;
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const at = (x, y) => (values[y * columns + x] - low) / (high - low || 1);
    c.imageSmoothingQuality = "high";
    const [w, h] = [width / (columns - 1), height / (rows - 1)]; // grid points lie on the edges, pixels in their middles
    c.drawImage(picture(columns, rows, at, "map"), -w / 2, -h / 2, width + w, height + h);
    c.strokeStyle = css("ink");
    c.globalAlpha = 0.16;
    c.lineWidth = 1;
    c.beginPath();
    for (let level = 1; level < LEVELS; level++) contour(c, columns, rows, at, level / LEVELS, w, h);
    c.stroke();
    c.globalAlpha = 1;
  }

  #path(c, accent, panel) {
    if (this.path.length < 1) return;
    const points = this.path.map((place) => this.#pixels(place));
    c.lineCap = "round";
    for (const [colour, w] of [[panel, 6], [accent, 3]]) {
      c.strokeStyle = colour;
      c.lineWidth = w;
      c.beginPath();
      points.forEach(([x, y], i) => (i ? c.lineTo(x, y) : c.moveTo(x, y)));
      c.stroke();
    }
    const [first, last] = [points[0], points.at(-1)];
    disc(c, ...first, 5, panel, accent, 2);
    disc(c, ...last, 5, accent, panel, 2);
  }

  #instruments(c, ink, panel, width, height) {
    const key = [width, height, this.map.model].join();
    if (this.labels?.key !== key) this.labels = { key, all: this.#labels(c, width, height) };
    for (const { name, x, y, box } of this.labels.all) {
      disc(c, x, y, 4.5, ink, panel, 2);
      if (!box) continue; // its name is told below the map
      c.textAlign = "left";
      c.strokeStyle = panel;
      c.globalAlpha = 0.85;
      c.lineWidth = 4;
      c.strokeText(name, box[0], box[1] + 8);
      c.globalAlpha = 1;
      c.fillStyle = ink;
      c.fillText(name, box[0], box[1] + 8);
    }
  }

  // Where each name fits: beside its dot, by turns from every side; of several orders the one that leaves the fewest out.
  #labels(c, width, height) {
    const dots = this.map.instruments.map((one) => {
      const [x, y] = this.#pixels([one.x, one.y]);
      return { name: one.name, x, y, w: c.measureText(one.name).width };
    });
    const over = (a, b, A, B) => Math.max(0, Math.min(a + b, A + B) - Math.max(a, A));
    const attempt = (order) => {
      const taken = dots.map(({ x, y }) => [x - 6, y - 6, 12, 12]);
      const cost = ([x, y, w, h]) =>
        taken.reduce((sum, [X, Y, W, H]) => sum + over(x, w, X, W) * over(y, h, Y, H), 0) +
        1e3 * (x < 2 || x + w > width - 2 || y < 2 || y + h > height - 2);
      return order.map((dot) => {
        const { x, y, w } = dot;
        const corners = [[9, -8], [-9 - w, -8], [-w / 2, -25], [-w / 2, 9], [6, -21], [6, 5], [-6 - w, -21], [-6 - w, 5]];
        const boxes = corners.map(([dx, dy]) => [x + dx, y + dy, w, 16]);
        const box = boxes.reduce((best, other) => (cost(other) < cost(best) ? other : best));
        if (cost(box) > 60) return { ...dot, box: null };
        taken.push(box);
        return { ...dot, box };
      });
    };
    const by = (value) => attempt([...dots].sort((a, b) => value(a) - value(b)));
    const attempts = [attempt(dots), by((d) => d.x), by((d) => -d.x), by((d) => d.y), by((d) => -d.y), by((d) => -d.w)];
    const left = (all) => all.filter(({ box }) => !box).length;
    return attempts.reduce((best, other) => (left(other) < left(best) ? other : best));
  }
}

function disc(c, x, y, radius, fill, ring, width = 0) {
  c.beginPath();
  c.arc(x, y, radius, 0, 7);
  c.fillStyle = fill;
  c.fill();
  if (width) {
    c.strokeStyle = ring;
    c.lineWidth = width;
    c.stroke();
  }
}

// The line where a grid crosses a level (marching squares).
function contour(c, columns, rows, at, level, w, h) {
  for (let y = 0; y < rows - 1; y++)
    for (let x = 0; x < columns - 1; x++) {
      const corners = [[x, y], [x + 1, y], [x + 1, y + 1], [x, y + 1]];
      const cut = [];
      corners.forEach(([ax, ay], i) => {
        const [bx, by] = corners[(i + 1) % 4];
        const [a, b] = [at(ax, ay) - level, at(bx, by) - level];
        if (a < 0 !== b < 0) cut.push([(ax + ((bx - ax) * a) / (a - b)) * w, (ay + ((by - ay) * a) / (a - b)) * h]);
      });
      for (let i = 0; i + 1 < cut.length; i += 2) {
        c.moveTo(...cut[i]);
        c.lineTo(...cut[i + 1]);
      }
    }
}

// So many places along a line, evenly spaced.
export function evenly(places, count) {
  const lengths = [0];
  for (let i = 1; i < places.length; i++)
    lengths.push(lengths[i - 1] + Math.hypot(places[i][0] - places[i - 1][0], places[i][1] - places[i - 1][1]));
  return Array.from({ length: count }, (_, n) => along(places, lengths, (n / (count - 1)) * lengths.at(-1)));
}

// The place where a line is at `value`, rising along with `values`.
export function along(places, values, value) {
  let i = values.findIndex((other) => other >= value);
  if (i < 0) i = values.length - 1;
  if (i === 0) return places[0];
  const part = (value - values[i - 1]) / (values[i] - values[i - 1] || 1);
  return places[i].map((to, axis) => places[i - 1][axis] + part * (to - places[i - 1][axis]));
}
