/// Why a text cannot be trained on.
package enum CorpusError: Error, Equatable, CustomStringConvertible {
    case missing(path: String, reason: String)
    case unreadable(path: String, reason: String)
    case tooLong(path: String, limit: Int)
    case tooShort(path: String, bytes: Int, needed: Int)

    package var description: String {
        switch self {
        case .missing(let path, let reason):
            let hint =
                path == Corpus.defaultPath
                ? "install Debian's package dict-gcide (apt-get install dict-gcide)"
                : "name a plain or gzip-compressed text"
            return "opening the corpus \(path): \(reason); \(hint)"
        case .unreadable(let path, let reason):
            return "reading the corpus \(path): \(reason); "
                + "check the file with gzip -t or take another text"
        case .tooLong(let path, let limit):
            return "reading the corpus \(path): it holds more than \(limit) bytes of text, "
                + "the limit; split it"
        case .tooShort(let path, let bytes, let needed):
            return "the corpus \(path) holds \(bytes) bytes; at least \(needed) are needed "
                + "for validation and one training sample"
        }
    }
}
