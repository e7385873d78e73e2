/** Data sets that are fetched by name. */
export const builtinData: readonly string[] = ['AdvertiseGen']
