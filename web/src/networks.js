// How is a network run?  By ONNX Runtime Web in WebAssembly, in one thread: that needs no headers of the server.
import * as ort from "onnxruntime-web/wasm";
import settings from "../settings.json";
import { loadFiles } from "./assets.js";

ort.env.wasm.numThreads = 1;
ort.env.logLevel = "error";

const sessions = new Map();

/** Load the runtime and all networks. told: called with the bytes that have come and those of all. */
export async function openNetworks(told) {
  if (typeof WebAssembly !== "object" || typeof DecompressionStream !== "function") {
    throw new Error("this browser lacks WebAssembly, in which the networks run: take a newer one, or switch it on");
  }
  const files = await loadFiles(told);
  ort.env.wasm.wasmBinary = files["runtime.wasm"];
  for (const [name, { arithmetic }] of Object.entries(settings.networks)) {
    // Weights that are only stored in 8 bits become floats once, not at each call.
    const extra = { session: { disable_quant_qdq: arithmetic === "int8" ? "0" : "1" } };
    sessions.set(
      name,
      await ort.InferenceSession.create(files[`${name}.onnx`], { executionProviders: ["wasm"], extra }),
    );
  }
}

/** The outputs, by their names, of a network for bytes of this shape. */
export async function run(name, input, bytes, shape) {
  return sessions.get(name).run({ [input]: new ort.Tensor("uint8", bytes, shape) });
}
