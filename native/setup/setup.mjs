// Sets a checkout up: tools, npm packages, libtorch, TypeScript, addon; on request Jupyter, a browser, CUDA's compiler.
// No dependencies. `node native/setup/setup.mjs [--with jupyter,lab,browser,cuda] [--quiet]`
import { createRequire } from 'node:module'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { locked, Progress, SetupError, seconds } from './stages.mjs'
import { checkCompiler, checkNode, checkPlatform, checkPython } from './tools.mjs'
import { compileTypeScript, installPackages, packagesInstalled } from './packages.mjs'
import { build, builtAlready } from './build.mjs'
import { ensureLibtorch } from './libtorch.mjs'
import { ensureBrowser, ensureCuda, ensureJupyter } from './extras.mjs'

const { findLibtorch, home } = createRequire(import.meta.url)('./find.cjs')
const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..')

const EXTRAS = ['jupyter', 'lab', 'browser', 'cuda']

function parse(argv) {
  const options = { quiet: false, extras: new Set() }
  for (let i = 0; i < argv.length; i++) {
    if (argv[i] === '--quiet') options.quiet = true
    else if (argv[i] === '--with') for (const name of (argv[++i] ?? '').split(',').filter(Boolean)) options.extras.add(name)
    else throw new SetupError(`unknown option ${argv[i]}; expected --with ${EXTRAS.join(',')} or --quiet`)
  }
  for (const name of options.extras) if (!EXTRAS.includes(name)) throw new SetupError(`unknown part '${name}'; expected ${EXTRAS.join(', ')}`)
  return options
}

/** Tools come first: a missing one is named before anything is fetched. */
function checkTools(extras) {
  checkNode()
  checkPlatform()
  // A finished addon shows that a compiler was there; only new work asks for tools.
  if (!packagesInstalled(root) || !builtAlready()) {
    checkCompiler()
    if (!findLibtorch().folder) checkPython(['pip'])
  }
  if (extras.has('jupyter') || extras.has('lab')) checkPython(['venv'])
  if (extras.has('cuda')) checkPython(['pip'])
}

async function setup({ quiet, extras }) {
  const start = Date.now()
  const progress = new Progress(quiet)
  checkTools(extras)
  await locked(path.join(home(), 'setup.lock'), async () => {
    await progress.stage('npm packages', (note) => installPackages(root, note))
    await progress.stage('libtorch', ensureLibtorch)
    if (extras.has('cuda')) await progress.stage('CUDA', (note) => ensureCuda(home(), note))
    await progress.stage('native addon', async (note) => {
      const { built, torch } = await build(note)
      return built ? `for libtorch ${torch.version}` : undefined
    })
    await progress.stage('TypeScript', (note) => compileTypeScript(root, home(), note))
    if (extras.has('jupyter') || extras.has('lab')) await progress.stage('Jupyter', (note) => ensureJupyter(home(), extras.has('lab'), note))
    if (extras.has('browser')) await progress.stage('browser', (note) => ensureBrowser(home(), note))
  })
  if (!quiet) console.log(`Set up in ${seconds(start)}. Try: npx fettle --help`)
}

try {
  await setup(parse(process.argv.slice(2)))
} catch (error) {
  console.error(error instanceof SetupError ? error.message : error)
  process.exitCode = 1
}
