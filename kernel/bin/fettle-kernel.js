#!/usr/bin/env node
require('../dist/install.js').main(process.argv.slice(2))
