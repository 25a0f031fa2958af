// Where do runtime and networks come from?  In the folder from files beside the page, in the single file from the page
// itself; gzipped in both, since not every server does that.
import sizes from "virtual:sizes"; // file -> bytes, written by build.mjs

/** All files: name -> bytes. told: called with the bytes that have come and those of all. */
export async function loadFiles(told) {
  const all = Object.values(sizes).reduce((sum, size) => sum + size, 0);
  let come = 0;
  const counted = (size) => told((come = Math.min(come + size, all)), all);
  counted(0);
  const entries = Object.keys(sizes).map(async (name) => [name, await unpacked(await packedBytes(name, counted))]);
  return Object.fromEntries(await Promise.all(entries));
}

async function packedBytes(name, counted) {
  const embedded = document.getElementById(`file-${name}`);
  if (embedded) {
    const bytes = fromBase64(embedded.textContent);
    embedded.remove();
    counted(bytes.length);
    return bytes;
  }
  const response = await fetch(`${name}.gz`);
  if (!response.ok) throw new Error(`the server does not have ${name}.gz (${response.status})`);
  const chunks = [];
  const reader = response.body.getReader();
  for (let { done, value } = await reader.read(); !done; { done, value } = await reader.read()) {
    chunks.push(value);
    counted(value.length);
  }
  return new Uint8Array(await new Blob(chunks).arrayBuffer());
}

function fromBase64(text) {
  const letters = atob(text.trim());
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i++) bytes[i] = letters.charCodeAt(i);
  return bytes;
}

/** Unpacked where it is still packed: of some servers the browser hears that a .gz is encoded so, and unpacks it. */
async function unpacked(bytes) {
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes;
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
