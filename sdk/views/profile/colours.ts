import { colours } from '../colours'
import type { FlameColour } from './flame'

/** Middle tones, as the charts of a board have them, legible on white and on near-black; the linear layers of a layer are blue, in four tones. */
export const flameColours: Readonly<Record<FlameColour, string>> = {
  qkv: '#2f6fb0', out: '#5b97cf', up: colours.main, down: '#26588c', attention: colours.second, norm: colours.third, rotary: '#c9a227', activation: '#8a6bbf', head: '#c2504a', embedding: '#7d8790', optimizer: '#a8744f', data: '#5f9ea0',
  communication: '#d0569c', frame: 'rgba(128,128,128,0.20)', odd: 'rgba(128,128,128,0.36)',
}

/** Whether letters on a box of this colour are white, else those of the page. */
export function isStrong(colour: FlameColour): boolean { return colour !== 'frame' && colour !== 'odd' }
