// Makes docs/reference from the docstrings: one page a topic. `npm run docs`, or `node docs/reference.mjs FOLDER`.
import * as path from 'node:path'
import { fileURLToPath } from 'node:url'
import { Application, Comment, Converter, DeclarationReflection, LogLevel, ReflectionKind } from 'typedoc'
import { MarkdownPageEvent } from 'typedoc-plugin-markdown'

const docs = path.dirname(fileURLToPath(import.meta.url))
const root = path.dirname(docs)
const entries = ['sdk/index.ts', 'kernel/index.ts']

/** Pages, in order: file, title, files of the names on it, summary. A public name goes to the first one whose pattern its source file fits. */
const topics = [
  ['builder', 'Describing a run', /^sdk\/(run\/sft|plan\/builder)\.ts$/, '`sft(model)` and the calls that describe a run. Nothing happens before `.start()`.'],
  ['options', 'Options', /^sdk\/plan\/options\.ts$/, 'What the calls take: range, unit and default of each option.'],
  ['runs', 'Runs', /^sdk\/(run\/(?!events|metrics|read-log)|secret)/, 'A run in its worker process: events, answers, controls, result; and runs picked up from their folders.'],
  ['events', 'Events and metrics', /^sdk\/run\//, 'What a run says while it goes, the lines of its metrics.jsonl.'],
  ['parallel', 'Ranks', /^sdk\/parallel\//, 'Several ranks that train together: their mesh, and how a launcher names them.'],
  ['profile', 'Profiles', /^sdk\/profile\//, 'Where the time and the memory of steps go.'],
  ['forecast', 'Predicting a run', /^sdk\/estimate\//, '`plan(builder)`: memory, time and size of a run before it starts, and its fastest form that fits.'],
  ['scores', 'Scores', /^sdk\/metrics\//, 'BLEU and Rouge of answers against references.'],
  ['notebook', 'In a notebook', /^sdk\/(views|chat|inspect)\//, 'What shows runs, data and answers under a cell.'],
  ['models', 'Models and tokenizers', /^sdk\/(models|tokenizers|data|adapters|export)\//, 'Models by name, and the text that they read.'],
  ['plan', 'Plan', /^sdk\/plan\/(plan|validate|defaults)\.ts$/, 'The frozen plain JSON that configures a run, and its check.'],
  ['arguments', 'Argument files', /^sdk\/plan\/arguments\//, 'Files with the argument names of PaddleNLP’s script, to plans and back.'],
  ['examples', 'Examples', /^sdk\/examples\//, 'Data sets that come with Fettle, as `examples.<name>`.'],
  ['errors', 'Errors', /^(sdk|native)\/errors\.ts$/, 'What is thrown on purpose: a stable code, the values seen, the next step.'],
  ['kernel', 'The kernel', /^kernel\//, 'The package `fettle-kernel`: install the kernel, run notebooks without a screen.'],
]

const options = {
  entryPoints: entries.map((entry) => path.join(root, entry)), tsconfig: path.join(root, 'tsconfig.json'), basePath: root, plugin: ['typedoc-plugin-markdown'],
  name: 'Reference', readme: 'none', disableSources: true, disableGit: true, excludeInternal: true, excludePrivate: true, excludeProtected: true, excludeExternals: true,
  skipErrorChecking: true, githubPages: false, logLevel: LogLevel.Warn, sort: ['source-order'], sortEntryPoints: false, cleanOutputDir: true,
  // Names of other packages are theirs to describe.
  externalSymbolLinkMappings: { '*': { '*': '#' } },
  outputFileStrategy: 'modules', flattenOutputFiles: true, hidePageHeader: true, pageTitleTemplates: { module: ({ name }) => topics.find(([topic]) => topic === name)?.[1] ?? name }, hideBreadcrumbs: true, hideGroupHeadings: false, excludeScopesInPaths: true,
  useCodeBlocks: true, expandObjects: true, expandParameters: true, indexFormat: 'table', parametersFormat: 'table', interfacePropertiesFormat: 'table',
  typeAliasPropertiesFormat: 'table', typeDeclarationFormat: 'table', classPropertiesFormat: 'table', tableColumnSettings: { hideModifiers: true, hideSources: true, hideInherited: true, hideOverrides: true },
}

/** Where a name is declared, from the root. */
function sourceOf(project, reflection) {
  const file = project.getSymbolIdFromReflection(reflection)?.fileName ?? reflection.sources?.[0]?.fullFileName
  return file ? path.relative(root, file).split(path.sep).join('/').replace(/\/dist\/(.*)\.d\.ts$/, '/$1.ts') : ''
}

/** Moves the public names from the modules that export them to the topics that they belong to. */
function sortIntoTopics(project) {
  const pages = topics.map(([name, , pattern, summary]) => {
    const page = new DeclarationReflection(name, ReflectionKind.Module, project)
    page.comment = new Comment([{ kind: 'text', text: summary }])
    project.registerReflection(page, undefined, undefined)
    return { page, pattern }
  })
  for (const module of project.children ?? []) for (const child of module.children ?? []) {
    const source = sourceOf(project, child)
    const topic = pages.find(({ pattern }) => pattern.test(source))
    if (!topic) throw new Error(`docs/reference.mjs has no page for ${child.name} of ${source || 'an unknown file'}; give one a pattern that fits`)
    // A namespace is a page's own heading; its names stand on the page.
    for (const name of child.kind === ReflectionKind.Namespace ? child.children ?? [] : [child]) {
      name.parent = topic.page
      topic.page.addChild(name)
    }
  }
  for (const module of [...project.children ?? []]) {
    module.children = module.childrenIncludingDocuments = undefined
    project.removeReflection(module)
  }
  project.children = project.childrenIncludingDocuments = undefined
  for (const { page } of pages) if (page.children?.length) project.addChild(page)
}

/** What a derived class repeats of its base stands there once, with the base. */
function dropInherited(project) {
  for (const reflection of Object.values(project.reflections))
    if (reflection.inheritedFrom?.reflection && reflection.parent?.kind === ReflectionKind.Class) project.removeReflection(reflection)
}

const heading = String.raw`\n#{2,6} `
/** Sections that say again what the signature above them says. */
const repeated = [
  new RegExp(`${heading}Returns\\n\\n[^\\n]+\\n(?=\\n#|\\n\\*\\*\\*|$)`, 'g'),
  new RegExp(`${heading}(Overrides|Implementation of)\\n\\n[^\\n]+\\n(?=\\n|$)`, 'g'),
  new RegExp(`${heading}Get Signature\\n`, 'g'),
  new RegExp(`${heading}(Type )?Parameters\\n\\n\\| (Type )?Parameter( \\| Type)?( \\| Default value)? \\|\\n(\\|[^\\n]*\\n)+`, 'g'),
]

/** The page without what it repeats. */
function calm(text) { return repairAnchors(`${repeated.reduce((rest, pattern) => rest.replace(pattern, ''), text).replace(/\n{3,}/g, '\n\n').trim()}\n`) }

/** Of names that differ in case alone (`BoardData`, `boardData()`) the plugin counts anchors in another way than readers do. */
function repairAnchors(text) {
  const seen = new Map()
  const anchors = new Map([...text.replace(/^```.*?^```$/gms, '').matchAll(/^#{1,6} (.*)$/gm)].map(([, title]) => {
    const slug = title.toLowerCase().replace(/[^\p{L}\p{N}\s_-]/gu, '').trim().replace(/\s/g, '-')
    const count = seen.get(slug) ?? 0
    seen.set(slug, count + 1)
    return [title.replace(/\(\)$/, ''), count === 0 ? slug : `${slug}-${count}`]
  }))
  const known = new Set(anchors.values())
  return text.replace(/(\[`?([^`\]]+)`?\]\(#)([^)]+)\)/g, (link, start, name, anchor) =>
    known.has(anchor) || text.includes(`<a id="${anchor}"`) || !anchors.has(name) ? link : `${start}${anchors.get(name)})`)
}

function indexPage(project) {
  const rows = topics.filter(([name]) => project.children.some((page) => page.name === name)).map(([name, title, , summary]) => `- [${title}](${name}.md): ${summary}`)
  return `# Reference\n\nEvery public name of \`fettle\` and \`fettle-kernel\`. Made from the docstrings by \`npm run docs\`; edit those, not these pages.\n\n${rows.join('\n')}\n`
}

/** Writes the reference to a folder; gives the number of warnings, which are printed. */
export async function writeReference(folder) {
  const app = await Application.bootstrapWithPlugins(options)
  app.converter.on(Converter.EVENT_RESOLVE_BEGIN, (context) => sortIntoTopics(context.project))
  app.converter.on(Converter.EVENT_RESOLVE_END, (context) => dropInherited(context.project))
  app.renderer.on(MarkdownPageEvent.END, (page) => { page.contents = page.model.isProject() ? indexPage(page.model) : calm(page.contents) })
  const project = await app.convert()
  if (!project) return 1
  app.validate(project)
  await app.outputs.writeOutput({ name: 'markdown', path: folder }, project)
  return app.logger.warningCount + app.logger.errorCount
}

if (process.argv[1] === fileURLToPath(import.meta.url))
  process.exitCode = await writeReference(path.resolve(process.argv[2] ?? path.join(docs, 'reference'))) > 0 ? 1 : 0
