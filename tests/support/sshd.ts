import { execFileSync, spawn } from 'node:child_process'
import * as fs from 'node:fs'
import * as net from 'node:net'
import { userInfo } from 'node:os'
import * as path from 'node:path'
import type { TestContext } from 'node:test'
import { freePort } from 'fettle/dist/parallel/launch/commands'
import { findProgram } from './programs'
import { until } from './runs'
import { temporaryFolder } from './tiny'

/** An sshd of this user on a port of the loopback, with keys of its own; the command that reaches it. It ends with the test. */
export async function startSshd(t: TestContext): Promise<string> {
  const folder = temporaryFolder(t, 'sshd'), at = (name: string) => path.join(folder, name)
  for (const name of ['host', 'user']) execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', at(name)])
  fs.copyFileSync(at('user.pub'), at('authorized'))
  // sshd of root insists on this folder, which its service makes at boot.
  if (userInfo().uid === 0) fs.mkdirSync('/run/sshd', { recursive: true, mode: 0o755 })
  const port = await freePort()
  fs.writeFileSync(at('config'), [`Port ${port}`, 'ListenAddress 127.0.0.1', `HostKey ${at('host')}`, `AuthorizedKeysFile ${at('authorized')}`, 'StrictModes no', 'UsePAM no', 'PasswordAuthentication no', 'PermitRootLogin yes', `PidFile ${at('pid')}`, 'MaxStartups 100', ''].join('\n'))
  const sshd = spawn(findProgram('sshd')!, ['-D', '-e', '-f', at('config')], { stdio: ['ignore', 'ignore', fs.openSync(at('log'), 'w')] })
  t.after(() => sshd.kill())
  const answers = () => new Promise<boolean>((resolve) => {
    const socket = net.connect(port, '127.0.0.1', () => { socket.destroy(); resolve(true) }).on('error', () => resolve(false))
  })
  await until(`sshd answers at port ${port}`, answers)
  return `ssh -p ${port} -i ${at('user')} -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o BatchMode=yes`
}
