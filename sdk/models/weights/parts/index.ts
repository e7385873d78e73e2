export { JoinedParts, partNames, type PartInfo, type PartTable } from './joined'
export { masterName, partsIndexName, PartWeights, stateStem, type PartsIndex } from './weights'
