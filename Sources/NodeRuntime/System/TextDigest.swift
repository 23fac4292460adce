import Compression

/// XXH3 of a text's UTF-8.
package enum TextDigest {
    package static func of(_ text: String) -> UInt64 {
        Digest64.of(Array(text.utf8).span)
    }
}
