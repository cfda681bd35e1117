// Indexes of bits. The interface is documented in gofaiss_c.h.
#include <faiss/IndexBinaryFlat.h>
#include <faiss/index_factory.h>

#include "internal.h"

using namespace gofaiss;

namespace {

faiss::IndexBinaryIVF& need_ivf(const FaissIndexBinary* p) {
    auto ivf = dynamic_cast<const faiss::IndexBinaryIVF*>(cpp(p));
    FAISS_THROW_IF_NOT_MSG(ivf, "not a binary IVF index");
    return *const_cast<faiss::IndexBinaryIVF*>(ivf);
}

} // namespace

extern "C" {

int faiss_index_binary_factory(FaissIndexBinary** out, int d, const char* description) {
    return guard([&] { *out = handle(faiss::index_binary_factory(d, description)); });
}

void faiss_IndexBinary_free(FaissIndexBinary* index) { delete cpp(index); }

int faiss_IndexBinary_d(const FaissIndexBinary* index) { return cpp(index)->d; }

idx_t faiss_IndexBinary_ntotal(const FaissIndexBinary* index) { return cpp(index)->ntotal; }

FaissMetricType faiss_IndexBinary_metric_type(const FaissIndexBinary* index) {
    return FaissMetricType(cpp(index)->metric_type);
}

int faiss_IndexBinary_train(FaissIndexBinary* index, idx_t n, const uint8_t* x) {
    return guard([&] { cpp(index)->train(n, x); });
}

int faiss_IndexBinary_add(FaissIndexBinary* index, idx_t n, const uint8_t* x) {
    return guard([&] { cpp(index)->add(n, x); });
}

int faiss_IndexBinary_search(const FaissIndexBinary* index, idx_t n, const uint8_t* x, idx_t k, int32_t* distances,
                             idx_t* ids) {
    return guard([&] { cpp(index)->search(n, x, k, distances, ids); });
}

int faiss_IndexBinary_search_with_params(const FaissIndexBinary* index, idx_t n, const uint8_t* x, idx_t k,
                                         const FaissSearchParameters* params, int32_t* distances, idx_t* ids) {
    return guard([&] { cpp(index)->search(n, x, k, distances, ids, cpp(params)); });
}

size_t faiss_IndexBinary_size(const FaissIndexBinary* index) {
    auto p = cpp(index);
    if (auto ivf = dynamic_cast<const faiss::IndexBinaryIVF*>(p)) return list_bytes(*ivf) + ivf->nlist * ivf->code_size;
    return size_t(p->ntotal) * p->code_size;
}

FaissIndexBinaryIVF* faiss_IndexBinaryIVF_cast(FaissIndexBinary* index) {
    return handle(dynamic_cast<faiss::IndexBinaryIVF*>(cpp(index)));
}

size_t faiss_IndexBinaryIVF_nlist(const FaissIndexBinaryIVF* index) {
    return static_cast<const faiss::IndexBinaryIVF*>(cpp(index))->nlist;
}

size_t faiss_IndexBinaryIVF_nprobe(const FaissIndexBinaryIVF* index) {
    return static_cast<const faiss::IndexBinaryIVF*>(cpp(index))->nprobe;
}

void faiss_IndexBinaryIVF_set_nprobe(FaissIndexBinaryIVF* index, size_t nprobe) {
    static_cast<faiss::IndexBinaryIVF*>(cpp(index))->nprobe = nprobe;
}

int faiss_IndexBinaryIVF_set_direct_map(FaissIndexBinaryIVF* index, int type) {
    return guard([&] { need_ivf(index).set_direct_map_type(faiss::DirectMap::Type(type)); });
}

int faiss_IndexBinaryIVF_list_vector_count(const FaissIndexBinaryIVF* index, idx_t* counts, size_t nlist,
                                           const FaissSearchParameters* params) {
    return guard([&] { count_rows(need_ivf(index), counts, nlist, params); });
}

int faiss_IndexBinaryIVF_search_closest_eligible_centroids(const FaissIndexBinaryIVF* index, idx_t n,
                                                           const uint8_t* x, idx_t k, int32_t* distances,
                                                           idx_t* ids, const FaissSearchParameters* params) {
    return guard([&] { need_ivf(index).quantizer->search(n, x, k, distances, ids, cpp(params)); });
}

int faiss_IndexBinaryIVF_search_preassigned_with_params(const FaissIndexBinaryIVF* index, idx_t n, const uint8_t* x,
                                                        idx_t k, const idx_t* assign,
                                                        const int32_t* centroid_distances, int32_t* distances,
                                                        idx_t* ids, int store_pairs,
                                                        const FaissSearchParametersIVF* params) {
    return guard([&] {
        auto ivf_params = dynamic_cast<const faiss::SearchParametersIVF*>(cpp(params));
        need_ivf(index).search_preassigned(n, x, k, assign, centroid_distances, distances, ids, store_pairs,
                                           ivf_params);
    });
}

int faiss_IndexBinaryIVF_get_centroids_and_cardinality(const FaissIndexBinaryIVF* index, uint8_t* centroids,
                                                       size_t* cardinalities, idx_t* ids) {
    return guard([&] { describe_lists(need_ivf(index), centroids, cardinalities, ids); });
}

} // extern "C"
