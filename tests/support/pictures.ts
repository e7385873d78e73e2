import * as fs from 'node:fs'
import * as path from 'node:path'
import type { Page } from 'playwright-core'
import { PNG } from 'pngjs'
import { fixture } from './paths'
import { smallPng } from './png'

/*
 * Kept pictures are compared as one sees them from three steps away: each 8 × 8 px become one point. Glyphs that another
 * machine draws a little bolder, or half a pixel further, vanish in that; a chart, a row or a colour that is missing or
 * elsewhere does not. Three limits: points that differ in all; points that differ in any one tile of 80 × 80 px, because a small
 * chart is a small part of a large picture; and, stricter, points of a tile whose hue differs, because letters are mostly grey
 * and lines of charts are not. The panel's fonts come with the tests (DejaVu, cut to the characters that are
 * needed by `pyftsubset --no-hinting --flavor=woff2`), so that lines break alike everywhere.
 */

/** Side of the square that becomes one point, in px; side of a tile, in points. */
const block = 8
const tile = 10
/** Difference of colour that counts, from 0 to 1 as pixelmatch has it: 15 of 256 levels of grey. */
const threshold = 0.058
/** Largest share of points that may differ: of the picture, of a tile. */
export const limits = { all: 0.01, tile: 0.25, hue: 0.04 } as const
/** Difference between red and green, or blue and green, that counts as another hue. */
const hueStep = 14

/** How far a picture is from the kept one. */
export interface Difference { readonly all: number; readonly tile: number; readonly hue: number; readonly height: number; readonly width: number }

const folder = fixture('pictures')
export const updating = process.env.UPDATE_PICTURES === '1'

const faces = [['Kept', 400, 'DejaVuSans'], ['Kept', 600, 'DejaVuSans-Bold'], ['Kept Mono', 400, 'DejaVuSansMono']] as const

/** Gives a page the fonts of the kept pictures, and waits for them. */
export async function keptFonts(page: Page): Promise<void> {
  const css = faces.map(([family, weight, file]) => `@font-face{font-family:"${family}";font-weight:${weight};src:url(data:font/woff2;base64,${fs.readFileSync(path.join(folder, `${file}.woff2`)).toString('base64')})}`).join('')
  await page.addStyleTag({ content: `${css}:root{--jp-ui-font-family:"Kept";--jp-code-font-family:"Kept Mono"}` })
  await page.evaluate(`Promise.all(${JSON.stringify(faces.map(([family, weight]) => `${weight} 13px "${family}"`))}.map((font) => document.fonts.load(font, 'Ag'))).then(() => undefined)`)
}

/** Mean colour of each block. */
function shrink({ width, height, data }: PNG, columns: number, rows: number): Uint8Array {
  const out = new Uint8Array(columns * rows * 4)
  for (let row = 0; row < rows; row++) for (let column = 0; column < columns; column++) {
    const sum = [0, 0, 0]
    let count = 0
    for (let y = row * block; y < Math.min(height, (row + 1) * block); y++) for (let x = column * block; x < Math.min(width, (column + 1) * block); x++, count++)
      for (let c = 0; c < 3; c++) sum[c] += data[(y * width + x) * 4 + c]
    for (let c = 0; c < 3; c++) out[(row * columns + column) * 4 + c] = Math.round(sum[c] / Math.max(1, count))
    out[(row * columns + column) * 4 + 3] = 255
  }
  return out
}

/** How far two pictures are apart. */
export async function difference(kept: Buffer, made: Buffer): Promise<Difference> {
  const { default: pixelmatch } = await import('pixelmatch')
  const [a, b] = [PNG.sync.read(kept), PNG.sync.read(made)]
  const [columns, rows] = [Math.ceil(Math.min(a.width, b.width) / block), Math.ceil(Math.min(a.height, b.height) / block)]
  const [kept8, made8] = [shrink(a, columns, rows), shrink(b, columns, rows)]
  const marks = new Uint8Array(columns * rows * 4)
  const count = pixelmatch(kept8, made8, marks, columns, rows, { threshold, includeAA: true, diffMask: true })
  const hue = (side: Uint8Array, i: number, c: number) => side[i * 4 + c] - side[i * 4 + 1]
  return {
    all: count / (columns * rows),
    tile: worstTile(columns, rows, (i) => marks[i * 4 + 3] > 0),
    hue: worstTile(columns, rows, (i) => [0, 2].some((c) => Math.abs(hue(kept8, i, c) - hue(made8, i, c)) > hueStep)),
    height: Math.abs(a.height - b.height), width: Math.abs(a.width - b.width),
  }
}

/** Largest share of points in a tile that are marked. */
function worstTile(columns: number, rows: number, marked: (point: number) => boolean): number {
  const tiles = new Map<number, number>()
  for (let i = 0; i < columns * rows; i++) if (marked(i)) {
    const key = Math.floor(i / columns / tile) * columns + Math.floor(i % columns / tile)
    tiles.set(key, (tiles.get(key) ?? 0) + 1)
  }
  return Math.max(0, ...tiles.values()) / tile ** 2
}

/** Whether a difference is what other fonts and other browsers make. */
export function isClose({ all, tile, hue, height, width }: Difference): boolean {
  return all <= limits.all && tile <= limits.tile && hue <= limits.hue && height <= block && width === 0
}

/** Compares a picture with the kept one of its name; UPDATE_PICTURES=1 keeps it instead. */
export async function compare(name: string, made: Buffer): Promise<Difference> {
  const file = path.join(folder, `${name}.png`)
  if (updating) fs.writeFileSync(file, smallPng(PNG.sync.read(made)))
  return difference(fs.readFileSync(file), made)
}
