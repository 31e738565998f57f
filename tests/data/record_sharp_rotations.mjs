#!/usr/bin/env node
// SPDX-License-Identifier: MIT
// Records the dimensions that sharp gives to turned pictures to sharp_rotations.csv, as record_sharp_dimensions.mjs does:
//   npm install --prefix /tmp/sharp sharp && NODE_PATH=/tmp/sharp/node_modules node tests/data/record_sharp_rotations.mjs >tests/data/sharp_rotations.csv
import { createRequire } from 'node:module';

const sharp = createRequire(process.env.NODE_PATH + '/')('sharp');
const sources = [[641, 479], [99, 101], [7, 3], [1, 1], [900, 2], [1367, 2049]];
const boxes = [[0, 0], [320, 0], [77, 33], [640, 480]];
const angles = [90, -90, 180, 45, -45, 30, 0.01, 89.99, 10.5, 200, 359.5, -123.45];

console.log('format,width,height,orientation,fit,to_width,to_height,enlarge,result_width,result_height,angle');
for (const format of ['png', 'jpeg']) {
  for (const [width, height] of sources) {
    const plain = sharp({ create: { width, height, channels: 3, background: '#468' } });
    for (const orientation of format === 'png' ? [1] : [1, 6]) {
      const image = await plain.clone().withMetadata({ orientation }).toFormat(format).toBuffer();
      for (const [w, h] of boxes) {
        for (const fit of w && h ? ['inside', 'cover', 'fill'] : ['inside']) {
          for (const angle of angles) {
            const enlarge = fit === 'inside' ? 0 : 1;
            let turned = sharp(image).autoOrient().rotate(angle);
            if (w || h) turned = turned.resize({ width: w || null, height: h || null, fit, withoutEnlargement: !enlarge });
            const { info } = await turned.png({ compressionLevel: 1 }).toBuffer({ resolveWithObject: true });
            console.log([format, width, height, orientation, fit, w, h, enlarge, info.width, info.height, angle].join());
          }
        }
      }
    }
  }
}
