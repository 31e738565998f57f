#!/usr/bin/env node
// SPDX-License-Identifier: MIT
// Records the dimensions that sharp gives to sharp_dimensions.csv:
//   npm install --prefix /tmp/sharp sharp && NODE_PATH=/tmp/sharp/node_modules node tests/data/record_sharp_dimensions.mjs >tests/data/sharp_dimensions.csv
import { createRequire } from 'node:module';

const sharp = createRequire(process.env.NODE_PATH + '/')('sharp');
const sources = [[1500, 1225], [641, 479], [99, 101], [7, 3], [1, 1], [900, 2], [37, 411], [2049, 1367]];
const boxes = [[320, 0], [0, 100], [200, 200], [77, 33], [50, 151], [1, 1], [640, 480], [1001, 13]];
const fits = ['inside', 'cover', 'contain', 'fill', 'outside'];

console.log('format,width,height,orientation,fit,to_width,to_height,enlarge,result_width,result_height');
for (const format of ['png', 'jpeg', 'webp']) {
  for (const [width, height] of sources) {
    const plain = sharp({ create: { width, height, channels: 3, background: '#468' } });
    for (const orientation of format === 'png' ? [1] : [1, 3, 6]) {
      const image = await plain.clone().withMetadata({ orientation }).toFormat(format).toBuffer();
      for (const [w, h] of boxes) {
        for (const fit of fits) {
          for (const enlarge of [0, 1]) {
            const { info } = await sharp(image).autoOrient()
              .resize({ width: w || null, height: h || null, fit, withoutEnlargement: !enlarge }).png({ compressionLevel: 1 }).toBuffer({ resolveWithObject: true });
            console.log([format, width, height, orientation, fit, w, h, enlarge, info.width, info.height].join());
          }
        }
      }
    }
  }
}
