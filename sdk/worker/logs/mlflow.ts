import { randomBytes } from 'node:crypto'
import * as fs from 'node:fs'
import { userInfo } from 'node:os'
import * as path from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Scalar, ScalarLog } from './scalars'

const finished = 3, failed = 4, running = 1
const experiment = '0'

/**
 * A folder that `mlflow ui --backend-store-uri FOLDER` shows: MLflow's file store, a file a metric with `time value step` lines, a
 * file a parameter.
 */
export class MlflowLog implements ScalarLog {
  private readonly folder: string
  private readonly started = Date.now()
  private readonly id = randomBytes(16).toString('hex')

  /** @param params settings of the run, by dotted name */
  constructor(private readonly store: string, private readonly name: string, params: Readonly<Record<string, string>>) {
    const root = path.join(store, experiment)
    this.folder = path.join(root, this.id)
    for (const part of ['metrics', 'params', 'tags', 'artifacts']) fs.mkdirSync(path.join(this.folder, part), { recursive: true })
    const meta = path.join(root, 'meta.yaml')
    if (!fs.existsSync(meta)) {
      fs.writeFileSync(meta, yaml({
        artifact_location: pathToFileURL(root).href, creation_time: this.started, experiment_id: `'${experiment}'`, last_update_time: this.started, lifecycle_stage: 'active', name: 'Default',
      }))
    }
    for (const [key, value] of Object.entries(params)) fs.writeFileSync(path.join(this.folder, 'params', key), value.slice(0, 6000))
    fs.writeFileSync(path.join(this.folder, 'tags', 'mlflow.runName'), name)
    this.writeMeta(running, null)
  }

  write(scalars: readonly Scalar[], time: number): void {
    for (const { name, step, value } of scalars) {
      const file = path.join(this.folder, 'metrics', name)
      fs.mkdirSync(path.dirname(file), { recursive: true })
      fs.appendFileSync(file, `${time} ${Number.isNaN(value) ? 'nan' : value} ${step}\n`)
    }
  }

  close(outcome: 'finished' | 'failed'): void { this.writeMeta(outcome === 'finished' ? finished : failed, Date.now()) }

  private writeMeta(status: number, end: number | null): void {
    fs.writeFileSync(path.join(this.folder, 'meta.yaml'), yaml({
      artifact_uri: pathToFileURL(path.join(this.folder, 'artifacts')).href, end_time: end, entry_point_name: "''", experiment_id: `'${experiment}'`, lifecycle_stage: 'active', run_id: this.id,
      run_name: JSON.stringify(this.name), run_uuid: this.id, source_name: "''", source_type: 4, source_version: "''", start_time: this.started, status, tags: '[]', user_id: JSON.stringify(userInfo().username),
    }))
  }
}

function yaml(values: Readonly<Record<string, string | number | null>>): string {
  return Object.entries(values).map(([key, value]) => `${key}: ${value === null ? 'null' : value}\n`).join('')
}
