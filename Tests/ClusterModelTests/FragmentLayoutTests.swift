import ClusterModel
import Testing

@Suite struct FragmentLayoutTests {
    private let model = RunConfiguration.Model(
        width: 8, layers: 7, heads: 2, context: 16, tiedHead: false)

    @Test(arguments: 1...7)
    func fragmentsCoverTheVectorOnce(fragments: Int) {
        for elements in [model.parameterCount, 257, 7] {
            let layout = FragmentLayout.ranges(
                of: model, elements: elements, fragments: fragments)
            #expect(layout.count == fragments)
            let all = layout.flatMap { $0 }.sorted { $0.lowerBound < $1.lowerBound }
            #expect(all.first?.lowerBound == 0 && all.last?.upperBound == elements)
            #expect(zip(all, all.dropFirst()).allSatisfy { $0.upperBound == $1.lowerBound })
            for ranges in layout {
                #expect(
                    zip(ranges, ranges.dropFirst()).allSatisfy { $0.upperBound < $1.lowerBound })
            }
        }
    }

    @Test func aSyntheticModelFallsIntoEqualParts() {
        let model = RunConfiguration.Model.synthetic(parameters: 8_000)
        #expect(model.parameterCount == 8_000)
        let layout = FragmentLayout.ranges(of: model, elements: 8_000, fragments: 4)
        let sizes = layout.map { $0.reduce(0) { $0 + $1.upperBound - $1.lowerBound } }
        #expect(sizes == [2_000, 2_000, 2_000, 2_000])
        #expect(layout[0] == [0..<1_000, 4_000..<5_000])
    }

    @Test func fragmentPHasTheLayersThatAreItModuloP() {
        let layout = FragmentLayout.ranges(
            of: model, elements: model.parameterCount, fragments: 3)
        let e = model.embeddingCount
        let l = model.layerCount
        // 0: embeddings, layers 0, 3, 6. 1: layers 1, 4. 2: layers 2, 5, then norm and head.
        #expect(
            layout[0] == [0..<(e + l), (e + 3 * l)..<(e + 4 * l), (e + 6 * l)..<(e + 7 * l)])
        #expect(layout[1] == [(e + l)..<(e + 2 * l), (e + 4 * l)..<(e + 5 * l)])
        #expect(
            layout[2] == [
                (e + 2 * l)..<(e + 3 * l), (e + 5 * l)..<(e + 6 * l),
                (e + 7 * l)..<model.parameterCount,
            ])
    }
}
