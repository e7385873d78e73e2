export { NotebookError, readNotebook, runNotebook, startServer, writeNotebook } from './driver'
export type { LocalServer, LocalServerOptions, Notebook, NotebookCell, NotebookOutput, OutputChange, RunNotebookOptions } from './driver'
export { exportHtml } from './html'
export { install, remove, type Installation, type Place } from './spec'
