/// Why a safetensors file could not be written or read.
package enum SafetensorsError: Error, Equatable, CustomStringConvertible {
    /// A system call failed while writing; a previous file of that name is untouched.
    case writeFailed(path: String, action: String, bytesNeeded: Int, code: Int32)
    case readFailed(path: String, action: String, code: Int32)
    /// The file ends before what its header promises.
    case truncated(path: String, bytes: Int, expected: Int)
    /// The header breaks a rule of the format.
    case malformed(path: String, reason: String)
    /// A well-formed file lacks a tensor, or has it in another form.
    case unexpectedTensor(path: String, name: String, reason: String)

    package var description: String {
        switch self {
        case .writeFailed(let path, let action, let bytes, let code):
            "writing \(path): \(action) failed: \(errorText(code)) (errno \(code)); "
                + "\(bytes) bytes are needed; the previous file, if any, is unchanged"
        case .readFailed(let path, let action, let code):
            "reading \(path): \(action) failed: \(errorText(code)) (errno \(code))"
        case .truncated(let path, let bytes, let expected):
            "reading \(path): the file has \(bytes) bytes, its header promises \(expected); "
                + "it was cut off: take an earlier checkpoint"
        case .malformed(let path, let reason):
            "reading \(path): not a valid safetensors file: \(reason); "
                + "it is damaged or of another kind: take an earlier checkpoint"
        case .unexpectedTensor(let path, let name, let reason):
            "reading \(path): tensor \"\(name)\": \(reason); "
                + "the file was written by another model or version"
        }
    }
}
