// SPDX-License-Identifier: Apache-2.0

// Charts of what /metrics says.
import {colour, penOf} from './map.js';

/** Metrics of one moment. `at`: milliseconds. */
export function readMetrics(text, at) {
  const samples = [];
  for (const line of text.split('\n')) {
    const found = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line);
    if (found) samples.push({name: found[1], labels: found[2] ?? '', value: Number(found[3])});
  }
  const of = (name, labels) => samples.filter((sample) => sample.name === name && labels.test(sample.labels));
  return {at, of, sum: (name, labels = /(?:)/) => of(name, labels).reduce((sum, sample) => sum + sample.value, 0)};
}

/** Increase a second of a counter between two moments. */
export function rateOf(now, before, name, labels) {
  const grown = now.sum(name, labels) - before.sum(name, labels);
  return Math.max(0, grown) / ((now.at - before.at) / 1000);
}

/** Quantile of what a histogram got between two moments: the bound of the bucket that has it; NaN: it got nothing. */
export function quantileOf(now, before, name, labels, share) {
  const earlier = new Map(before.of(name, labels).map((sample) => [sample.labels, sample.value]));
  const grown = now.of(name, labels).map((sample) => ({
    bound: Number(/le="([^"]*)"/.exec(sample.labels)[1].replace('+Inf', 'Infinity')),
    count: sample.value - (earlier.get(sample.labels) ?? 0),
  }));
  const all = Math.max(0, ...grown.map((bucket) => bucket.count));
  if (all === 0) return NaN;
  return grown.find((bucket) => bucket.count >= share * all).bound;
}

/** A number for people: three digits, and a space between thousands. */
export function short(value) {
  if (!Number.isFinite(value)) return '–';
  if (value !== 0 && Math.abs(value) < 100) return String(Number(value.toPrecision(3)));
  return Math.round(value).toLocaleString('en').replaceAll(',', '\u2009');
}

const kKept = 120;  // seconds
const kDashes = [[], [5, 3]];
const kInks = ['--box', '--second'];

export class Chart {
  /** `names`: one or two; `measure(now, before)`: a value for each. */
  constructor(title, unit, names, measure) {
    Object.assign(this, {title, unit, names, measure, rows: []});
    this.figure = document.createElement('figure');
    this.caption = document.createElement('figcaption');
    this.canvas = document.createElement('canvas');
    this.canvas.setAttribute('role', 'img');
    this.canvas.setAttribute('aria-label', `${title}, over the last two minutes; the newest values are in the caption`);
    this.caption.textContent = title;
    this.figure.append(this.caption, this.canvas);
  }

  add(now, before) {
    this.rows.push(this.measure(now, before));
    if (this.rows.length > kKept) this.rows.shift();
    this.name();
    this.draw();
  }

  /** Writes the newest values into the caption, in the colours of their lines. */
  name() {
    const newest = this.rows[this.rows.length - 1];
    const parts = newest.map((value, i) => {
      const part = document.createElement('span');
      part.className = i === 0 ? 'first' : 'other';
      part.textContent = `${i === 0 ? '━' : '╍'} ${this.names[i]} ${short(value)}${this.unit && ` ${this.unit}`}`;
      return part;
    });
    const title = document.createElement('strong');
    title.textContent = `${this.title}: `;
    this.caption.replaceChildren(title, ...parts.flatMap((part, i) => (i ? [', ', part] : [part])));
  }

  draw() {
    const {pen, wide, high} = penOf(this.canvas);
    const most = Math.max(...this.rows.flat().filter(Number.isFinite), 0) || 1;
    const yOf = (value) => high - 3 - (high - 18) * value / most;
    pen.font = '10px system-ui, "DejaVu Sans", sans-serif';
    pen.strokeStyle = colour('--line');
    pen.fillStyle = colour('--faint');
    for (const value of [0, most]) {
      pen.beginPath();
      pen.moveTo(0, yOf(value));
      pen.lineTo(wide, yOf(value));
      pen.stroke();
    }
    pen.fillText(`${short(most)}${this.unit && ` ${this.unit}`}`, 3, 11);
    this.names.forEach((name, i) => {
      pen.beginPath();
      pen.setLineDash(kDashes[i]);
      pen.lineWidth = 1.75;
      pen.strokeStyle = colour(kInks[i]);
      let isOn = false;
      this.rows.forEach((row, second) => {
        const x = wide - (this.rows.length - 1 - second) * wide / kKept;
        if (!Number.isFinite(row[i])) {
          isOn = false;
          return;
        }
        if (isOn) pen.lineTo(x, yOf(row[i]));
        else pen.moveTo(x, yOf(row[i]));
        isOn = true;
      });
      pen.stroke();
    });
    pen.setLineDash([]);
  }
}

/** What searches cost by both ways: below the diagonal, one-sided reads take less time. The server's load is a line. */
export class Scatter {
  constructor(canvas, caption) {
    Object.assign(this, {canvas, caption, points: []});
  }

  /** `took`: the way that the adaptive client went; `load`: busy share of the server's threads. */
  add(message, oneSided, took, load) {
    this.points.push({message, oneSided, took, load});
    if (this.points.length > kKept) this.points.shift();
    const better = this.points.filter((point) => point.oneSided < point.message).length;
    const chosen = this.points.filter((point) => point.took === 'one-sided').length;
    this.caption.textContent = `${this.points.length} searches: one-sided reads took less time for ${better} of them (below the ` +
        `diagonal) and the adaptive client chose them for ${chosen} (filled). The last one: message ${short(message)} µs, ` +
        `one-sided ${short(oneSided)} µs. The line below is the server's load, now ${short(100 * load)} %.`;
    this.draw();
  }

  draw() {
    const {pen, wide, high} = penOf(this.canvas);
    if (this.points.length === 0) return;
    const strip = 34;
    const edge = {left: 54, right: wide - 8, top: 8, bottom: high - strip - 26};
    const times = this.points.flatMap((point) => [point.message, point.oneSided]);
    const low = Math.floor(Math.log10(Math.max(0.1, Math.min(...times))));
    const top = Math.max(low + 1, Math.ceil(Math.log10(Math.max(...times))));
    const share = (time) => (Math.log10(Math.max(0.1, time)) - low) / (top - low);
    const xOf = (time) => edge.left + (edge.right - edge.left) * share(time);
    const yOf = (time) => edge.bottom - (edge.bottom - edge.top) * share(time);
    pen.font = '10px system-ui, "DejaVu Sans", sans-serif';
    pen.fillStyle = colour('--faint');
    pen.strokeStyle = colour('--line');
    const line = (x0, y0, x1, y1) => {
      pen.beginPath();
      pen.moveTo(x0, y0);
      pen.lineTo(x1, y1);
      pen.stroke();
    };
    for (let power = low; power <= top; power++) {
      const time = 10 ** power;
      line(xOf(time), edge.top, xOf(time), edge.bottom);
      line(edge.left, yOf(time), edge.right, yOf(time));
      pen.textAlign = 'center';
      pen.fillText(short(time), Math.min(xOf(time), wide - 18), edge.bottom + 12);
      pen.textAlign = 'right';
      pen.fillText(short(time), edge.left - 4, yOf(time) + 4);
    }
    pen.textAlign = 'center';
    pen.fillText('by message, µs', (edge.left + edge.right) / 2, edge.bottom + 22);
    pen.save();
    pen.translate(9, (edge.top + edge.bottom) / 2);
    pen.rotate(-Math.PI / 2);
    pen.fillText('one-sided, µs', 0, 0);
    pen.restore();
    pen.textAlign = 'start';
    pen.setLineDash([4, 4]);
    line(xOf(10 ** low), yOf(10 ** low), xOf(10 ** top), yOf(10 ** top));
    pen.setLineDash([]);
    this.points.forEach((point, i) => {
      pen.globalAlpha = 0.35 + 0.65 * (i + 1) / this.points.length;
      pen.strokeStyle = pen.fillStyle = colour(point.took === 'one-sided' ? '--box' : '--second');
      pen.beginPath();
      pen.arc(xOf(point.message), yOf(point.oneSided), 4, 0, 2 * Math.PI);
      if (point.took === 'one-sided') pen.fill();
      pen.stroke();
    });
    pen.globalAlpha = 1;
    this.drawLoad(pen, wide, high, strip);
  }

  drawLoad(pen, wide, high, strip) {
    pen.fillStyle = colour('--faint');
    pen.fillText('100 %', 3, high - strip + 8);
    pen.fillText('0 %', 3, high - 2);
    pen.strokeStyle = colour('--mark');
    pen.lineWidth = 1.75;
    pen.beginPath();
    this.points.forEach((point, i) => {
      const x = 54 + (wide - 62) * (i + kKept - this.points.length) / (kKept - 1);
      const y = high - 3 - (strip - 6) * Math.max(0, Math.min(1, point.load));
      if (i === 0) pen.moveTo(x, y);
      else pen.lineTo(x, y);
    });
    pen.stroke();
  }
}
