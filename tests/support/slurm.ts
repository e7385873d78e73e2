import { execFile, execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import * as fs from 'node:fs'
import { hostname, tmpdir, userInfo } from 'node:os'
import * as path from 'node:path'
import { promisify } from 'node:util'
import { freePort } from 'fettle/dist/parallel/launch/commands'
import { findProgram, without } from './programs'
import { until } from './runs'

/** For `skip`: false where a one-machine Slurm can be started here. */
export function withoutSlurm(): string | false {
  return without('slurmctld', 'slurmd', 'munged', 'srun') || (userInfo().uid !== 0 && 'slurmd starts as root alone')
}

/** A Slurm of one machine that plays several nodes of 4 CPUs, cn01 and on. */
export interface Slurm {
  /** Variables that its commands need. */
  readonly env: Record<string, string>
  /** Runs a command to its end and gives its output; rejects with its error output. */
  run(program: string, ...args: string[]): Promise<string>
  /** Ends all that was started, and deletes its folder. */
  stop(): Promise<void>
}

/** Starts munged, slurmctld and a slurmd for each node, on free ports, in a folder of their own straight under the temporary one (socket names are short). */
export async function startSlurm(nodes = 2): Promise<Slurm> {
  const folder = fs.mkdtempSync(path.join(tmpdir(), 'slurm-')), at = (name: string) => path.join(folder, name)
  fs.chmodSync(folder, 0o755)
  for (const name of ['munge', 'state', 'spool']) fs.mkdirSync(at(name), { mode: 0o700 })
  fs.writeFileSync(at('munge/key'), randomBytes(1024), { mode: 0o400 })
  fs.writeFileSync(at('slurm.conf'), await configuration(folder, nodes))
  const env = { PATH: process.env.PATH ?? '', HOME: folder, SLURM_CONF: at('slurm.conf') }
  const start = (program: string, ...args: string[]) => { execFileSync(findProgram(program)!, args, { env }) }
  const run = async (program: string, ...args: string[]) => (await promisify(execFile)(program, args, { env, cwd: folder, timeout: 120_000 })).stdout
  const pids = ['slurmctld.pid', ...Array.from({ length: nodes }, (_, i) => `slurmd.cn0${i + 1}.pid`), 'munge/pid']
  const stop = async () => {
    for (const name of pids) {
      const pid = Number(fs.existsSync(at(name)) ? fs.readFileSync(at(name), 'utf8') : 0)
      if (pid > 0) await until(`the end of ${name}`, () => !signalled(pid))
    }
    fs.rmSync(folder, { recursive: true, force: true })
  }
  try {
    start('munged', '--force', `--socket=${at('munge/socket')}`, `--key-file=${at('munge/key')}`, `--pid-file=${at('munge/pid')}`, `--log-file=${at('munge/log')}`, `--seed-file=${at('munge/seed')}`)
    start('slurmctld', '-c')
    for (let i = 1; i <= nodes; i++) start('slurmd', '-N', `cn0${i}`)
    await until('idle nodes', async () => (await run('sinfo', '-h', '-t', 'idle', '-o', '%D')).trim() === String(nodes), 30_000)
  } catch (error) {
    await stop()
    throw error
  }
  return { env, run, stop }
}

/** Asks a process to end; false when it has. */
function signalled(pid: number): boolean {
  try { return process.kill(pid, 'SIGTERM') } catch { return false }
}

async function configuration(folder: string, nodes: number): Promise<string> {
  const host = hostname().split('.')[0], user = userInfo().username
  const ports: number[] = []
  for (let i = 0; i <= nodes; i++) ports.push(await freePort())
  return `ClusterName=one
SlurmctldHost=${host}(127.0.0.1)
SlurmctldPort=${ports[nodes]}
SlurmUser=${user}
SlurmdUser=${user}
AuthType=auth/munge
AuthInfo=socket=${folder}/munge/socket
CredType=cred/munge
StateSaveLocation=${folder}/state
SlurmdSpoolDir=${folder}/spool/%n
SlurmctldPidFile=${folder}/slurmctld.pid
SlurmdPidFile=${folder}/slurmd.%n.pid
SlurmctldLogFile=${folder}/slurmctld.log
SlurmdLogFile=${folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
ReturnToService=2
JobRequeue=1
KillWait=5
SlurmdParameters=config_overrides
${Array.from({ length: nodes }, (_, i) => `NodeName=cn0${i + 1} NodeHostname=${host} NodeAddr=127.0.0.1 Port=${ports[i]} CPUs=4`).join('\n')}
PartitionName=all Nodes=ALL Default=YES State=UP
`
}
