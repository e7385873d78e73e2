import { conflict } from '../plan/refuse'
import type { UploadOptions } from '../plan/options'
import type { Command } from './command'
import { exitCodes } from './exit'
import { takePositionals, type Parsed } from './flags'
import { lazy } from './lazy'
import { StatusLine, type Terminal } from './terminal'

export const uploadCommand: Command = {
  name: 'upload',
  summary: "upload a trained model or adapter to Hugging Face's hub or Baidu AI Studio",
  usage: ['upload FOLDER OWNER/NAME', "upload FOLDER OWNER/NAME --to aistudio --public --licence 'Apache License 2.0'"],
  flags: [
    { name: 'to', type: 'text', value: 'huggingface|aistudio', help: 'the hub (huggingface)', rule: 'upload.to' },
    { name: 'private', type: 'flag', help: 'a new repository is seen by its owner alone (the default)' },
    { name: 'public', type: 'flag', help: 'a new repository is seen by all' },
    { name: 'licence', type: 'text', value: 'NAME', help: "licence of the weights, as the hub names it (none; at AI Studio 'Apache License 2.0')", aliases: ['license'], rule: 'upload.license' },
  ],
  run: send,
}

async function send(parsed: Parsed, terminal: Terminal): Promise<number> {
  const [folder, repository] = takePositionals(parsed, ['FOLDER', 'OWNER/NAME'], 'upload')
  const { values } = parsed, line = new StatusLine(terminal)
  if (values.private !== undefined && values.public !== undefined) throw conflict(['private', 'public'], '--private and --public exclude each other', 'one of them')
  const options: UploadOptions = {
    to: values.to as UploadOptions['to'], license: values.licence as string | undefined,
    private: values.public === undefined ? values.private as boolean | undefined : values.public === false,
  }
  const result = await lazy.upload().upload(folder, repository, { ...options, onProgress: ({ stage, message }) => line.show(stage, message, message) }).finally(() => line.clear())
  if (values.json) terminal.out(`${JSON.stringify(result)}\n`)
  else terminal.err(`uploaded to ${result.url}: ${result.files.join(', ')}\n`)
  return exitCodes.ok
}
