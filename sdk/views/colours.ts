/** Middle tones, legible on white and on near-black, and apart for the colour-blind: for pictures, which know nothing of their page. */
export const colours = {
  main: '#3f83c9', faint: 'rgba(63,131,201,0.4)', second: '#d9792b', third: '#3d9a78', thirdFaint: 'rgba(61,154,120,0.4)', grid: 'rgba(128,128,128,0.24)', text: '#717880',
} as const
