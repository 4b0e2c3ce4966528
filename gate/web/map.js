// SPDX-License-Identifier: Apache-2.0

// A map of collections by their vector tiles, in Web Mercator. Positions are shares of the world's edge, from its north west.
import {readTile} from './tile.js';

const kTile = 256;  // pixels of a tile's edge
const kMaxZoom = 24;
const kMostTiles = 600;     // tiles that are remembered
const kRetry = 2000;        // ms after which a tile that failed is asked for again
const kFresh = 5000;        // ms in which a tile is not asked for again, whatever is written
const kDetail = 0.75;       // levels by which tiles are finer than the screen needs
const kMostAncestors = 5;   // levels that are looked up for something to show until a tile comes
const kMostCounted = 250;   // a cell's count ends here
const kLinesOfGrid = [90, 45, 30, 15, 10, 5, 2, 1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001];  // degrees

export const shareOfX = (longitude) => (longitude + 180) / 360;
export const shareOfY = (latitude) => {
  const phi = Math.max(-85.05, Math.min(85.05, latitude)) * Math.PI / 180;
  return (1 - Math.asinh(Math.tan(phi)) / Math.PI) / 2;
};
export const longitudeOf = (x) => x * 360 - 180;
export const latitudeOf = (y) => Math.atan(Math.sinh(Math.PI * (1 - 2 * y))) * 180 / Math.PI;

export function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** Sizes a canvas for the screen's pixels and returns a pen of CSS pixels. */
export function penOf(canvas) {
  const ratio = devicePixelRatio || 1;
  const wide = canvas.clientWidth;
  const high = canvas.clientHeight;
  canvas.width = Math.round(wide * ratio);
  canvas.height = Math.round(high * ratio);
  const pen = canvas.getContext('2d');
  pen.scale(ratio, ratio);
  return {pen, wide, high};
}

const degrees = (value, positive, negative) =>
    `${Math.abs(Number(value.toFixed(4)))}°${value > 0 ? positive : value < 0 ? negative : ''}`;

export class MapView {
  /** `say`: is told what went wrong. */
  constructor(canvas, say) {
    this.canvas = canvas;
    this.say = say;
    this.x = 0.5;
    this.y = 0.5;
    this.zoom = 1;
    this.collection = '';
    this.under = '';   // collection that is drawn below
    this.version = 0;  // 0: the newest
    this.newest = 0;   // number of the newest
    this.fill = 0.15;
    this.window = null;
    this.found = [];      // boxes: [west, south, east, north]
    this.changes = null;  // {inserted, erased, moved}
    this.tiles = new Map();
    this.isDue = false;
  }

  get worldPixels() { return kTile * 2 ** this.zoom; }

  positionAt(event) {
    const place = this.canvas.getBoundingClientRect();
    return {
      x: this.x + (event.clientX - place.left - place.width / 2) / this.worldPixels,
      y: this.y + (event.clientY - place.top - place.height / 2) / this.worldPixels,
    };
  }

  /** [west, south, east, north] of what is seen. */
  get seen() {
    const wide = this.canvas.clientWidth / this.worldPixels / 2;
    const high = this.canvas.clientHeight / this.worldPixels / 2;
    const clamp = (share) => Math.max(0, Math.min(1, share));
    return [longitudeOf(clamp(this.x - wide)), latitudeOf(clamp(this.y + high)),
      longitudeOf(clamp(this.x + wide)), latitudeOf(clamp(this.y - high))];
  }

  zoomBy(steps, about = {x: this.x, y: this.y}) {
    const zoom = Math.max(0, Math.min(kMaxZoom, this.zoom + steps));
    const share = 1 - 2 ** (this.zoom - zoom);
    this.x += (about.x - this.x) * share;
    this.y += (about.y - this.y) * share;
    this.zoom = zoom;
    this.redraw();
  }

  /** Shows a box of degrees whole. */
  show([west, south, east, north]) {
    const wide = Math.max(shareOfX(east) - shareOfX(west), 1e-7);
    const high = Math.max(shareOfY(south) - shareOfY(north), 1e-7);
    this.x = (shareOfX(east) + shareOfX(west)) / 2;
    this.y = (shareOfY(south) + shareOfY(north)) / 2;
    const zoom = Math.log2(Math.min(this.canvas.clientWidth / wide, this.canvas.clientHeight / high) / kTile);
    this.zoom = Math.max(0, Math.min(18, zoom));
    this.redraw();
  }

  tileOf(collection, version, z, x, y) {
    const key = `${collection}/${version}/${z}/${x}/${y}`;
    let tile = this.tiles.get(key);
    const now = performance.now();
    const isOld = version === 0 && tile?.of !== this.newest && now > tile?.asked + kFresh;
    const isDue = !tile || (tile.failed ? now > tile.failed + kRetry : isOld);
    if (!isDue) return tile;
    tile ??= {layers: null};
    tile.of = this.newest;
    tile.asked = now;
    tile.failed = 0;
    this.tiles.delete(key);
    this.tiles.set(key, tile);  // the last one used is the last one forgotten
    if (this.tiles.size > kMostTiles) this.tiles.delete(this.tiles.keys().next().value);
    const query = version ? `?version=${version}` : '';
    fetch(`collections/${encodeURIComponent(collection)}/tiles/${z}/${x}/${y}${query}`).then(async (answer) => {
      if (!answer.ok) throw new Error((await answer.json()).detail);
      tile.layers = readTile(new Uint8Array(await answer.arrayBuffer()));
      this.redraw();
    }).catch((error) => {
      tile.failed = performance.now();
      this.say(error.message);
    });
    return tile;
  }

  redraw() {
    if (this.isDue) return;
    this.isDue = true;
    requestAnimationFrame(() => {
      this.isDue = false;
      this.draw();
    });
  }

  draw() {
    const {pen, wide, high} = penOf(this.canvas);
    this.pen = pen;
    this.wide = wide;
    this.high = high;
    this.left = this.x * this.worldPixels - wide / 2;
    this.top = this.y * this.worldPixels - high / 2;
    this.drawGrid();
    if (this.under && this.under !== this.collection) this.drawTiles(this.under, 0, colour('--under'), 0.1);
    if (this.collection) this.drawTiles(this.collection, this.version, colour('--box'), this.fill);
    this.drawChanges();
    for (const box of this.found) this.drawBox(box, colour('--mark'), {width: 1.5});
    if (this.window) this.drawBox(this.window, colour('--mark'), {width: 2, dash: [6, 4], least: 8});
    this.drawNames();
  }

  drawTiles(collection, version, ink, fill) {
    const z = Math.max(0, Math.min(kMaxZoom, Math.round(this.zoom + kDetail)));
    const pixels = this.worldPixels / 2 ** z;
    const last = 2 ** z - 1;
    const {pen, left, top, wide, high} = this;
    for (let y = Math.max(0, Math.floor(top / pixels)); y <= Math.min(last, (top + high) / pixels); y++) {
      for (let x = Math.max(0, Math.floor(left / pixels)); x <= Math.min(last, (left + wide) / pixels); x++) {
        pen.save();
        pen.strokeStyle = pen.fillStyle = ink;
        pen.translate(x * pixels - left, y * pixels - top);
        pen.beginPath();
        pen.rect(0, 0, pixels, pixels);
        pen.clip();
        this.drawTile(this.tileOf(collection, version, z, x, y), collection, version, {z, x, y}, pixels, fill);
        pen.restore();
      }
    }
  }

  /** Draws a tile, or until it has come, a part of one above it. */
  drawTile(tile, collection, version, {z, x, y}, pixels, fill) {
    let {layers} = tile;
    for (let up = 1; !layers && up <= Math.min(z, kMostAncestors); up++) {
      layers = this.tiles.get(`${collection}/${version}/${z - up}/${x >> up}/${y >> up}`)?.layers;
      if (!layers) continue;
      const parts = 2 ** up;
      this.pen.translate(-(x % parts) * pixels, -(y % parts) * pixels);
      pixels *= parts;
    }
    for (const layer of layers ?? []) this.drawLayer(layer, pixels / layer.extent, fill);
  }

  drawLayer(layer, scale, fill) {
    const {pen} = this;
    const isCells = layer.name === 'cells';
    pen.lineWidth = 1;
    for (const feature of layer.features) {
      const [[x0, y0], ...others] = feature.rings[0];
      if (isCells) {
        const [x1, y1] = others[1];
        pen.globalAlpha = 0.12 + 0.7 * Math.log2(feature.properties.count + 1) / Math.log2(kMostCounted + 1);
        pen.fillRect(x0 * scale, y0 * scale, (x1 - x0) * scale, (y1 - y0) * scale);
        continue;
      }
      if (feature.type === 1) {
        pen.globalAlpha = 0.9;
        pen.fillRect(x0 * scale - 1, y0 * scale - 1, 2, 2);
        continue;
      }
      pen.beginPath();
      pen.moveTo(x0 * scale, y0 * scale);
      for (const [x, y] of others) pen.lineTo(x * scale, y * scale);
      if (feature.type === 3) {
        pen.closePath();
        pen.globalAlpha = fill;
        pen.fill();
      }
      pen.globalAlpha = 0.75;
      pen.stroke();
    }
  }

  /** Meridians and parallels that are seen: [degrees, pixels from the left or the top]. */
  linesOfGrid() {
    const [west, south, east, north] = this.seen;
    const step = kLinesOfGrid.findLast((degree) => degree / 360 * this.worldPixels > 90) ?? 90;
    const between = (from, to) => {
      const all = [];
      for (let at = Math.ceil(from / step) * step; at <= to; at += step) all.push(at);
      return all;
    };
    return {
      meridians: between(west, east).map((at) => [at, Math.round(shareOfX(at) * this.worldPixels - this.left) + 0.5]),
      parallels: between(south, north).map((at) => [at, Math.round(shareOfY(at) * this.worldPixels - this.top) + 0.5]),
    };
  }

  drawGrid() {
    const {pen, wide, high} = this;
    const {meridians, parallels} = this.linesOfGrid();
    pen.strokeStyle = colour('--grid');
    pen.lineWidth = 1;
    pen.beginPath();
    for (const [, x] of meridians) {
      pen.moveTo(x, 0);
      pen.lineTo(x, high);
    }
    for (const [, y] of parallels) {
      pen.moveTo(0, y);
      pen.lineTo(wide, y);
    }
    pen.stroke();
  }

  /** Names of the lines, with an edge of the sea's colour so that they can be read over boxes. */
  drawNames() {
    const {pen, high} = this;
    const {meridians, parallels} = this.linesOfGrid();
    pen.font = '11px system-ui, "DejaVu Sans", sans-serif';
    pen.fillStyle = colour('--faint');
    pen.strokeStyle = colour('--sea');
    pen.lineWidth = 3;
    pen.lineJoin = 'round';
    const name = (text, x, y) => {
      pen.strokeText(text, x, y);
      pen.fillText(text, x, y);
    };
    for (const [at, x] of meridians) name(degrees(at, 'E', 'W'), x + 3, high - 5);
    for (const [at, y] of parallels) {
      if (y < high - 20) name(degrees(at, 'N', 'S'), 44, y - 3);
    }
  }

  drawBox([west, south, east, north], ink, {width = 1.5, dash = [], least = 3, fill = 0} = {}) {
    const {pen, left, top, worldPixels} = this;
    let x = shareOfX(west) * worldPixels - left;
    let y = shareOfY(north) * worldPixels - top;
    let wide = (shareOfX(east) - shareOfX(west)) * worldPixels;
    let high = (shareOfY(south) - shareOfY(north)) * worldPixels;
    if (wide < least) [x, wide] = [x + wide / 2 - least / 2, least];
    if (high < least) [y, high] = [y + high / 2 - least / 2, least];
    if (x > this.wide || y > this.high || x + wide < 0 || y + high < 0) return;
    pen.strokeStyle = pen.fillStyle = ink;
    pen.globalAlpha = fill;
    if (fill) pen.fillRect(x, y, wide, high);
    pen.globalAlpha = 1;
    pen.lineWidth = width;
    pen.setLineDash(dash);
    pen.strokeRect(x, y, wide, high);
    pen.setLineDash([]);
  }

  drawChanges() {
    if (!this.changes) return;
    const {pen, left, top, worldPixels} = this;
    const middle = ([, west, south, east, north]) => [
      (shareOfX(west) + shareOfX(east)) / 2 * worldPixels - left, (shareOfY(south) + shareOfY(north)) / 2 * worldPixels - top];
    const style = {width: 2, least: 6, fill: 0.25};
    for (const [, ...box] of this.changes.inserted) this.drawBox(box, colour('--inserted'), style);
    for (const [, ...box] of this.changes.erased) this.drawBox(box, colour('--erased'), {...style, dash: [4, 3]});
    for (const [from, to] of this.changes.moved) {
      this.drawBox(from.slice(1), colour('--moved'), {width: 1, least: 6, dash: [2, 2]});
      this.drawBox(to.slice(1), colour('--moved'), style);
      pen.beginPath();
      pen.moveTo(...middle(from));
      pen.lineTo(...middle(to));
      pen.stroke();
    }
  }
}
