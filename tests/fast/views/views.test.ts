import assert from 'node:assert/strict'
import { test } from 'node:test'
import { html, tableView } from 'fettle/dist/views'
import { scriptJson } from 'fettle/dist/views/html'
import { duration, digits, short } from 'fettle/dist/views/format'

test('markup is escaped, scripts cannot be left', () => {
  assert.equal(html`<i>${'<&"\''}</i>${[html`<b>`, 1]}${null}`.toString(), '<i>&lt;&amp;&quot;&#39;</i><b>1')
  assert.equal(scriptJson({ a: '</script>\u2028' }).toString(), '{"a":"\\u003c/script>\\u2028"}')
})

test('tables as text and HTML', () => {
  assert.equal(tableView(['a', 'b'], [[1, 'x<y'], [null, { c: 1n }]])['text/plain'], 'a  b\n-  ---------\n1  x<y\n   {"c":"1"}')
  assert.match(tableView(['a'], [['x<y']])['text/html'], /<td>x&lt;y<\/td>/)
})

test('numbers as people read them', () => {
  assert.deepEqual([short(139_399_488), short(1500), short(12)], ['139M', '1.50k', '12.0'])
  assert.deepEqual([digits(0.123456, 3), digits(1234.5, 4), digits(0, 3), digits(1e-7, 3)], ['0.123', '1235', '0', '1.00e-7'])
  assert.deepEqual([duration(4_000), duration(83_000), duration(7_260_000), duration(200_000_000)], ['4s', '1m 23s', '2h 01m', '2d 7h'])
})
