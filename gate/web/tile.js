// SPDX-License-Identifier: Apache-2.0

// Reads Mapbox vector tiles (version 2.1).

/** Fields of a protocol buffer: [number, value], where a value is a number or bytes. */
function* fieldsOf(bytes) {
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let unit = 1;; unit *= 128) {
      const byte = bytes[at++];
      value += (byte & 127) * unit;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const key = varint();
    if (key % 8 === 0) {
      yield [key >> 3, varint()];
    } else {  // a tile of the gate has no other forms than these two
      const size = varint();
      yield [key >> 3, bytes.subarray(at, at += size)];
    }
  }
}

function numbersOf(bytes) {
  const numbers = [];
  for (let at = 0; at < bytes.length;) {
    let value = 0;
    for (let unit = 1;; unit *= 128) {
      const byte = bytes[at++];
      value += (byte & 127) * unit;
      if (byte < 128) break;
    }
    numbers.push(value);
  }
  return numbers;
}

/** Lines of positions, each [x, y] in units of the tile. */
function ringsOf(bytes) {
  const numbers = numbersOf(bytes);
  const signed = (value) => (value % 2 ? -(value + 1) / 2 : value / 2);
  const rings = [];
  let x = 0;
  let y = 0;
  for (let at = 0; at < numbers.length;) {
    const command = numbers[at] % 8;
    const count = Math.floor(numbers[at++] / 8);
    if (command === 7) continue;  // closes the ring
    for (let i = 0; i < count; i++) {
      x += signed(numbers[at++]);
      y += signed(numbers[at++]);
      if (command === 1) rings.push([]);
      rings[rings.length - 1].push([x, y]);
    }
  }
  return rings;
}

function featureOf(bytes) {
  const feature = {id: 0, type: 0, tags: [], rings: [], properties: {}};
  for (const [field, value] of fieldsOf(bytes)) {
    if (field === 1) feature.id = value;
    if (field === 2) feature.tags = numbersOf(value);
    if (field === 3) feature.type = value;
    if (field === 4) feature.rings = ringsOf(value);
  }
  return feature;
}

function layerOf(bytes) {
  const layer = {name: '', extent: 4096, features: []};
  const keys = [];
  const values = [];
  const text = new TextDecoder();
  for (const [field, value] of fieldsOf(bytes)) {
    if (field === 1) layer.name = text.decode(value);
    if (field === 2) layer.features.push(featureOf(value));
    if (field === 3) keys.push(text.decode(value));
    if (field === 4) values.push([...fieldsOf(value)][0][1]);
    if (field === 5) layer.extent = value;
  }
  for (const feature of layer.features) {
    for (let i = 0; i + 1 < feature.tags.length; i += 2) {
      feature.properties[keys[feature.tags[i]]] = values[feature.tags[i + 1]];
    }
  }
  return layer;
}

export function readTile(bytes) {
  return [...fieldsOf(bytes)].filter(([field]) => field === 3).map(([, layer]) => layerOf(layer));
}
