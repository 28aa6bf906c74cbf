"""Reads and writes safetensors files: an 8-byte length, a JSON header, then the tensors' bytes."""

import json
import struct

import numpy

TYPES = {
    "F64": numpy.float64,
    "F32": numpy.float32,
    "I64": numpy.int64,
    "I32": numpy.int32,
    "U8": numpy.uint8,
}
NAMES = {numpy.dtype(type_): name for name, type_ in TYPES.items()}


def write(path, tensors):
    """tensors: name -> numpy array, little-endian as this machine must be."""
    header, offset = {}, 0
    for name, array in tensors.items():
        header[name] = {
            "dtype": NAMES[array.dtype],
            "shape": list(array.shape),
            "data_offsets": [offset, offset + array.nbytes],
        }
        offset += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for array in tensors.values():
            file.write(numpy.ascontiguousarray(array).tobytes())


def read(path):
    with open(path, "rb") as file:
        data = file.read()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    tensors = {}
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = (8 + length + offset for offset in entry["data_offsets"])
            tensors[name] = numpy.frombuffer(data[begin:end], TYPES[entry["dtype"]]).reshape(entry["shape"])
    return tensors
