/// Finds the word a writer probably meant.
enum NearestKey {
    /// The candidate with the fewest edits, if few enough edits lead there: at most a third of the
    /// longer word, and at least one.
    static func suggestion(for word: String, among candidates: [String]) -> String? {
        let written = Array(normalised(word))
        var best: (edits: Int, candidate: String)?
        for candidate in candidates {
            let target = Array(normalised(candidate))
            let edits = distance(written, target)
            guard edits <= max(1, max(written.count, target.count) / 3) else { continue }
            if let known = best, known.edits <= edits { continue }
            best = (edits, candidate)
        }
        return best?.candidate
    }

    /// `syncEvery`, `sync-every` and `sync_every` are the same word.
    private static func normalised(_ word: String) -> String {
        String(word.lowercased().filter { $0 != "_" && $0 != "-" && $0 != " " })
    }

    /// Insertions, deletions, substitutions and swaps of neighbours (optimal string alignment).
    private static func distance(_ a: [Character], _ b: [Character]) -> Int {
        var beforePrevious: [Int] = []
        var previous = Array(0...b.count)
        for i in a.indices {
            var current = [i + 1]
            for j in b.indices {
                let substituted = previous[j] + (a[i] == b[j] ? 0 : 1)
                var least = min(substituted, previous[j + 1] + 1, current[j] + 1)
                if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] {
                    least = min(least, beforePrevious[j - 1] + 1)
                }
                current.append(least)
            }
            beforePrevious = previous
            previous = current
        }
        return previous[b.count]
    }
}
