import { FettleError } from 'fettle/dist/errors'

/** A notebook that could not be run: `details` hold the cell (counted from 0), the kernel's ename, evalue and traceback. */
export class NotebookError extends FettleError {}
