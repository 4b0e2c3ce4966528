// SPDX-License-Identifier: Apache-2.0

// The page of silurus-gate: a map of a collection by its vector tiles, one search by each way, the versions that are kept, the
// load as it is, and the group of replicas. It asks nothing but the gate that it came from.
import {Chart, Scatter, readMetrics, rateOf, quantileOf, short} from './load.js';
import {MapView, latitudeOf, longitudeOf} from './map.js';

const kListed = 200;     // entries of a search that are listed and drawn
const kMostEvents = 20;  // of the group that are listed
const kProbed = 0.04;    // edge of a window that is searched by itself, as a share of what is seen
const byId = (id) => document.getElementById(id);
const many = (count) => count.toLocaleString('en').replaceAll(',', '\u2009');

function say(text) {
  if (byId('state').textContent !== text) byId('state').textContent = text;
}

async function ask(path) {
  const answer = await fetch(path);
  const json = await answer.json();
  if (!answer.ok) throw new Error(json.detail);
  return json;
}

const map = new MapView(byId('map'), say);
const path = () => `collections/${encodeURIComponent(map.collection)}`;
let extent = null;

// --- collections

function option(name) {
  const made = document.createElement('option');
  made.value = made.textContent = name;
  return made;
}

async function begin() {
  let collections;
  try {
    ({collections} = await ask('collections'));
  } catch (error) {
    say(error.message);
    setTimeout(begin, 2000);
    return;
  }
  const names = collections.map((collection) => collection.id);
  byId('collection').replaceChildren(...names.map(option));
  byId('under').append(...names.map(option));
  byId('under').disabled = names.length < 2;
  const {name, box} = placeOfLink();
  byId('collection').value = names.includes(name) ? name : names[0];
  await choose();
  if (box) turn(() => map.show(box));
}

/** What the page's address names: "#collection@west,south,east,north". */
function placeOfLink() {
  const [name, box] = decodeURIComponent(location.hash.slice(1)).split('@');
  const numbers = (box ?? '').split(',').map(Number);
  const isBox = box && numbers.length === 4 && numbers.every(Number.isFinite) && numbers[0] <= numbers[2] && numbers[1] <= numbers[3];
  return {name, box: isBox ? numbers : null};
}

/** Has the address name what is seen, so that it can be sent to others. */
function keepPlace() {
  const box = map.seen.map((degree) => Number(degree.toFixed(5))).join(',');
  history.replaceState(null, '', `#${encodeURIComponent(map.collection)}@${box}`);
}
addEventListener('hashchange', async () => {
  const {name, box} = placeOfLink();
  if (name !== map.collection && [...byId('collection').options].some((one) => one.value === name)) {
    byId('collection').value = name;
    await choose();
  }
  if (box) turn(() => map.show(box));
});

async function choose() {
  map.collection = byId('collection').value;
  map.version = map.newest = 0;
  versions = [];
  map.window = map.changes = extent = null;
  map.found = [];
  byId('ways').hidden = byId('entries').hidden = true;
  byId('found').textContent = 'Click into the map to search.';
  try {
    const collection = await ask(path());
    const bbox = collection.extent?.spatial.bbox[0];
    if (bbox?.length === 6) byId('found').textContent = 'A collection of three dimensions has no map.';
    extent = bbox?.length === 4 ? bbox : null;
    map.show(extent ?? [-180, -85, 180, 85]);
    keepPlace();
    await readVersions();
  } catch (error) {
    say(error.message);
  }
}
byId('collection').addEventListener('change', choose);
byId('under').addEventListener('change', () => {
  map.under = byId('under').value;
  map.redraw();
});
byId('fill').addEventListener('input', () => {
  map.fill = Number(byId('fill').value) / 100;
  map.redraw();
});

// --- the search

function row(table, header, cells) {
  const made = table.tBodies[0].insertRow();
  const name = document.createElement('th');
  name.scope = 'row';
  name.textContent = header;
  made.append(name);
  for (const text of cells) made.insertCell().textContent = text;
  return made;
}

function showWays(ways) {
  const table = byId('ways').querySelector('table');
  table.tBodies[0].replaceChildren();
  for (const way of ways) {
    if (way.problem) {
      row(table, way.name, [way.problem]).lastChild.colSpan = 6;
      continue;
    }
    if (way.name === 'adaptive') {
      const how = way.took === 'message' ? 'a message' : 'one-sided reads';
      table.caption.textContent = `The same search by each way; the adaptive client chose ${how}`;
    }
    row(table, way.name, [`${short(way.microseconds)} µs`, `${short(way.again)} µs`, many(way.round_trips), many(way.bytes),
      many(way.nodes_read), many(way.cache_hits)]);
  }
  byId('ways').hidden = false;
}

function boxOf(feature) {
  const {type, coordinates} = feature.geometry;
  const [west, south] = type === 'Point' ? coordinates : coordinates[0][0];
  const [east, north] = type === 'Point' ? coordinates : coordinates[0][2];
  return [Math.min(west, east), Math.min(south, north), Math.max(west, east), Math.max(south, north)];
}

function showEntries(features) {
  map.found = features.map(boxOf);
  byId('entries').replaceChildren(...features.map((feature, i) => {
    const line = document.createElement('li');
    const [west, south, east, north] = map.found[i].map((degree) => Number(degree.toFixed(5)));
    line.textContent = `id ${feature.properties.entry}: ${west}, ${south}` +
        (west === east && south === north ? '' : ` to ${east}, ${north}`);
    return line;
  }));
  byId('entries').hidden = features.length === 0;
}

async function search(x0, y0, x1, y1) {
  map.window = [longitudeOf(Math.min(x0, x1)), latitudeOf(Math.max(y0, y1)), longitudeOf(Math.max(x0, x1)), latitudeOf(Math.min(y0, y1))];
  map.found = [];
  map.redraw();
  const bbox = map.window.join(',');
  const version = map.version ? `&version=${map.version}` : '';
  byId('found').textContent = 'Searching …';
  try {
    const [items, ways] = await Promise.all([
      ask(`${path()}/items?f=json&limit=${kListed}&bbox=${bbox}${version}`), ask(`${path()}/ways?bbox=${bbox}${version}`)]);
    const beyond = items.numberMatched > kListed ? `, of which the first ${kListed} are drawn` : '';
    byId('found').textContent = `${many(items.numberMatched)} boxes in version ${items.version}${beyond}.`;
    showWays(ways.ways);
    showEntries(items.features);
  } catch (error) {
    byId('found').textContent = error.message;
  }
  map.redraw();
}

// --- pointer and keys

let grip = null;
const pointers = new Map();  // of fingers, for pinching
const canvas = map.canvas;
const gap = () => {
  const [a, b] = [...pointers.values()];
  return Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY);
};
canvas.addEventListener('pointerdown', (event) => {
  canvas.setPointerCapture(event.pointerId);
  pointers.set(event.pointerId, event);
  grip = {at: map.positionAt(event), moved: pointers.size > 1, draws: event.shiftKey, gap: pointers.size > 1 ? gap() : 0};
});
canvas.addEventListener('pointermove', (event) => {
  const here = map.positionAt(event);
  byId('place').textContent = `${longitudeOf(here.x).toFixed(3)}, ${latitudeOf(here.y).toFixed(3)}`;
  if (!grip) return;
  pointers.set(event.pointerId, event);
  if (pointers.size > 1) {
    const now = gap();
    map.zoomBy(Math.log2(now / grip.gap), grip.at);
    grip.gap = now;
    return;
  }
  if (Math.hypot(here.x - grip.at.x, here.y - grip.at.y) * map.worldPixels > 3) grip.moved = true;
  if (grip.draws) {
    map.window = [longitudeOf(Math.min(grip.at.x, here.x)), latitudeOf(Math.max(grip.at.y, here.y)),
      longitudeOf(Math.max(grip.at.x, here.x)), latitudeOf(Math.min(grip.at.y, here.y))];
  } else if (grip.moved) {
    map.x += grip.at.x - here.x;
    map.y += grip.at.y - here.y;
  }
  map.redraw();
});
canvas.addEventListener('pointerup', (event) => {
  const here = map.positionAt(event);
  pointers.delete(event.pointerId);
  const done = grip;
  if (pointers.size > 0) return;
  grip = null;
  if (done?.draws) search(done.at.x, done.at.y, here.x, here.y);
  else if (done && !done.moved) search(here.x, here.y, here.x, here.y);
  else if (done) turn(() => {});
});
canvas.addEventListener('pointercancel', (event) => {
  pointers.delete(event.pointerId);
  grip = null;
});
let wheelStopped = 0;
canvas.addEventListener('wheel', (event) => {
  event.preventDefault();
  map.zoomBy(-Math.sign(event.deltaY) * 0.5, map.positionAt(event));
  clearTimeout(wheelStopped);
  wheelStopped = setTimeout(() => turn(() => {}), 300);
}, {passive: false});
canvas.addEventListener('keydown', (event) => {
  const step = 64 / map.worldPixels;
  const keys = {
    ArrowLeft: () => map.x -= step,
    ArrowRight: () => map.x += step,
    ArrowUp: () => map.y -= step,
    ArrowDown: () => map.y += step,
    '+': () => map.zoomBy(1),
    '-': () => map.zoomBy(-1),
    Enter: () => search(map.x - step / 4, map.y - step / 4, map.x + step / 4, map.y + step / 4),
  };
  if (!keys[event.key]) return;
  event.preventDefault();
  keys[event.key]();
  map.redraw();
});
/** Shows something else on the map, and what hangs on that. */
function turn(what) {
  what();
  keepPlace();
  readChanges();
}
byId('closer').addEventListener('click', () => turn(() => map.zoomBy(1)));
byId('farther').addEventListener('click', () => turn(() => map.zoomBy(-1)));
byId('whole').addEventListener('click', () => turn(() => map.show(extent ?? [-180, -85, 180, 85])));

// --- the past

let versions = [];
let keptCount = 0;  // there may be more than are listed

function describe(kept) {
  return `${kept.version} of ${kept.time.slice(0, 19).replace('T', ' ')} UTC, ${many(kept.entries)} boxes`;
}

/** Reads which versions there are; sliders stay at the versions that they were at. */
async function readVersions() {
  const before = {version: versions[byId('version').value]?.version, since: versions[byId('since').value]?.version};
  const follows = map.version === 0;
  const collection = map.collection;
  const answer = await ask(`${path()}/versions`);
  if (collection !== map.collection) return;  // another one has been chosen since
  ({versions, kept: keptCount} = answer);
  const last = Math.max(0, versions.length - 1);
  const indexOf = (version, otherwise) => {
    const at = versions.findIndex((kept) => kept.version === version);
    return at < 0 ? otherwise : at;
  };
  for (const id of ['version', 'since']) {
    byId(id).max = last;
    byId(id).disabled = versions.length < 2;
  }
  byId('version').value = follows ? last : indexOf(before.version, 0);
  byId('since').value = indexOf(before.since, Math.max(0, versions.findIndex((one) => one.entries > 0)));
  showVersion();
}

/** Shows the version that the slider is at; at its right end, the newest. */
function showVersion() {
  const slider = byId('version');
  const kept = versions[Number(slider.value)];
  map.version = kept && Number(slider.value) < versions.length - 1 ? kept.version : 0;
  const name = !kept ? 'The newest. The server keeps no older ones; it does with --retain.' :
    `${map.version ? 'Version' : 'The newest:'} ${describe(kept)}; ${many(keptCount)} are kept.`;
  byId('version-name').textContent = name;
  slider.setAttribute('aria-valuetext', name);
  map.redraw();
  readChanges();
}

let changesAsked = 0;
async function readChanges() {
  const wanted = byId('changes').checked;
  const since = versions[Number(byId('since').value)];
  const until = versions[Number(byId('version').value)];
  byId('legend').hidden = !wanted;
  if (!wanted || !since || !until) {
    map.changes = null;
    byId('changed').textContent = '';
    map.redraw();
    return;
  }
  const [from, to] = [Math.min(since.version, until.version), Math.max(since.version, until.version)];
  const number = ++changesAsked;
  try {
    const changes = await ask(`${path()}/changes?from=${from}&to=${to}&bbox=${map.seen.join(',')}`);
    if (number !== changesAsked) return;  // a later question is under way
    map.changes = changes.complete ? changes : null;
    byId('changed').textContent = `From ${from} to ${to}: ${many(changes.count.inserted)} inserted, ${many(changes.count.erased)} ` +
        `erased, ${many(changes.count.moved)} moved.` + (changes.complete ? '' : ' Zoom in to see where: this window has too many boxes.');
  } catch (error) {
    map.changes = null;
    byId('changed').textContent = error.message;
  }
  map.redraw();
}
let slid = 0;
for (const [id, then] of [['version', showVersion], ['since', readChanges]]) {
  byId(id).addEventListener('input', () => {
    clearTimeout(slid);
    slid = setTimeout(then, 60);  // a slider that moves asks once
  });
}
byId('changes').addEventListener('change', readChanges);

// --- the load, once a second

const any = /(?:)/;
const rate = (name, labels = any) => (now, before) => rateOf(now, before, name, labels);
const searchTime = (share) => (now, before) =>
  quantileOf(now, before, 'silurus_request_seconds_bucket', /kind="search"/, share) * 1e6;
const hitShare = (now, before) => {
  const hits = rateOf(now, before, 'silurus_gate_cache_hits_total', any);
  const all = hits + rateOf(now, before, 'silurus_gate_cache_misses_total', any);
  return all ? 100 * hits / all : NaN;
};
const charts = [
  new Chart('Searches', '/s', ['by message', 'one-sided (gate)'], (now, before) => [
    rate('silurus_requests_total', /kind="(range|nearest|at)"/)(now, before),
    rate('silurus_gate_searches_total', /way="offload"/)(now, before)]),
  new Chart('Time of a search in the server', 'µs', ['median', '99 %'], (now, before) => [
    searchTime(0.5)(now, before), searchTime(0.99)(now, before)]),
  new Chart('Busy threads of the server', '', ['all together'], (now, before) => [
    rate('silurus_worker_busy_seconds_total')(now, before)]),
  new Chart('Changes', '/s', ['operations', 'batches'], (now, before) => [
    rate('silurus_write_operations_total')(now, before), rate('silurus_write_batches_total')(now, before)]),
  new Chart('Inner nodes found in the gate\'s cache', '%', ['hits'], (now, before) => [hitShare(now, before)]),
  new Chart('Memory', 'MB', ['tree', 'older versions'], (now) => [
    now.sum('silurus_tree_bytes') / 1e6, now.sum('silurus_retired_bytes') / 1e6]),
];
byId('charts').append(...charts.map((chart) => chart.figure));
const scatter = new Scatter(byId('scatter'), byId('scatter-name'));

/** Searches a small window somewhere in what is seen, by both ways. */
async function probe(load) {
  if (!byId('probe').checked || !map.collection || document.hidden || !extent) return;
  const [west, south, east, north] = map.seen;
  const wide = (east - west) * kProbed;
  const high = (north - south) * kProbed;
  const x = west + Math.random() * (east - west - wide);
  const y = south + Math.random() * (north - south - high);
  const {ways} = await ask(`${path()}/ways?bbox=${[x, y, x + wide, y + high].join(',')}`);
  const [message, oneSided, adaptive] = ways;
  if (ways.some((way) => way.problem)) {
    byId('scatter-name').textContent = ways.find((way) => way.problem).problem;
    return;
  }
  scatter.add(message.again, oneSided.again, adaptive.took, load);
}

let group = null;
async function readCluster() {
  const now = await ask('cluster');
  const name = (id) => id || 'none';
  byId('group').textContent = now.epoch === 0 ? 'One server, in no group of replicas.' :
    `View ${now.epoch}: the primary is ${name(now.primary)}, ${now.members.length} members. ${now.self} says so, a ${now.role}.`;
  byId('members').tBodies[0].replaceChildren();
  for (const member of now.members) {
    row(byId('members'), member.id, [member.id === now.primary ? 'primary' : 'backup', member.in_view ? 'yes' : 'no',
      member.lag_bytes === null ? '–' : `${many(member.lag_bytes)} B`, member.url]);
  }
  const changed = group && (group.epoch !== now.epoch || group.primary !== now.primary);
  if (changed) {
    const line = document.createElement('li');
    line.textContent = `${new Date().toLocaleTimeString('en-GB')}: view ${group.epoch} became ${now.epoch}` +
        (group.primary === now.primary ? '' : `, the primary ${name(group.primary)} became ${name(now.primary)}`);
    byId('events').prepend(line);
    if (byId('events').children.length > kMostEvents) byId('events').lastChild.remove();
  }
  group = now;
}

/** Of the collection that is shown: told by a search that finds next to nothing. */
async function newestVersion() {
  if (!map.collection) return 0;
  return (await ask(`${path()}/items?f=json&resultType=hits&bbox=0,0,0,0`)).version;
}

let before = null;
async function tick() {
  try {
    const now = readMetrics(await (await fetch('metrics')).text(), performance.now());
    if (now.sum('silurus_up') === 1) {
      const version = await newestVersion();
      const busy = before ? rateOf(now, before, 'silurus_worker_busy_seconds_total', any) : 0;
      const threads = Math.max(1, now.of('silurus_worker_busy_seconds_total', any).length);
      const isNew = version !== map.newest;
      map.newest = version;
      if (isNew) await readVersions();
      const last = versions[versions.length - 1];
      if (version) say(`${many(last ? last.entries : now.sum('silurus_entries'))} boxes, version ${version}, ${now.sum('silurus_clients')} clients`);
      map.redraw();
      await Promise.all([readCluster(), probe(busy / threads)]);
    } else {
      say((await (await fetch('readyz')).text()).trim());
    }
    if (before) charts.forEach((chart) => chart.add(now, before));
    before = now;
  } catch (error) {
    say(`The gate does not answer: ${error.message}`);
  }
  setTimeout(tick, 1000);
}

/** Draws all again, in the colours and the size that the page has now. */
function drawAll() {
  map.redraw();
  charts.forEach((chart) => chart.rows.length && chart.draw());
  scatter.draw();
}
addEventListener('resize', drawAll);
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', drawAll);

begin();
tick();
