"""How is a network in a file run?  By ONNX Runtime on the CPU, without its telemetry; no detector.

from detector_architectures.onnx_file import open_session
session, metadata = open_session("glasses.onnx", threads=1)
"""

import os
import re

# From 1.29 on ONNX Runtime tells its maker of each process that loads it, and notes a number for the device below the
# home folder, unless this is set before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
OLDEST_RUNTIME = "1.19"  # of onnxruntime, that reads our files and was tried


def open_session(path: str | os.PathLike, threads: int):
    """The onnxruntime session of a file, and its metadata.

    Raises ImportError where onnxruntime is missing or too old, ValueError with one line for another or damaged file.
    """
    try:
        import onnxruntime
    except ImportError as error:
        if error.name != "onnxruntime":  # it is there, but something in it fails
            raise ImportError(f"onnxruntime cannot be imported: {' '.join(str(error).split())}") from error
        raise ImportError(f"onnxruntime is not installed: pip install 'onnxruntime>={OLDEST_RUNTIME}'") from error

    def session_of(disable_qdq: str):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 4
        options.add_session_config_entry("session.disable_quant_qdq", disable_qdq)
        # Without the fallback, which would try the same once more and print why.
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"], enable_fallback=0)

    try:
        session = session_of("1")  # weights that are only stored in 8 bits: to float once, not at each call
        metadata = session.get_modelmeta().custom_metadata_map
        if metadata.get("arithmetic") == '"int8"':
            session = session_of("0")
    except Exception as error:  # onnxruntime raises a class of its own for each way to fail
        reason = " ".join(str(error).split())
        if re.search(r"unsupported model ir version|not .*support.* opset|opset .* is under development", reason, re.I):
            fix = f"pip install 'onnxruntime>={OLDEST_RUNTIME}'"
            raise ImportError(f"onnxruntime {onnxruntime.__version__} is too old for {path}: {fix}") from error
        raise ValueError(f"{path} does not hold a network of this project: {reason[-160:]}") from error
    return session, metadata
