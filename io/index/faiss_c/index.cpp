// Float indexes: any kind, flat, and IVF. The interface is documented in gofaiss_c.h.
#include <faiss/IndexFlat.h>
#include <faiss/IndexHNSW.h>
#include <faiss/IndexIDMap.h>
#include <faiss/IndexIVFPQ.h>
#include <faiss/IndexPreTransform.h>
#include <faiss/IndexScalarQuantizer.h>
#include <faiss/VectorTransform.h>
#include <faiss/clone_index.h>
#include <faiss/index_factory.h>
#include <faiss/index_io.h>
#include <faiss/utils/distances.h>
#include <omp.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "internal.h"

using namespace gofaiss;

namespace {

// Process-wide, not per thread as upstream has it: go-faiss reads the text in
// a second cgo call, which Go may run on another thread.
std::mutex error_mutex;
std::string error_text;

std::atomic<bool> interrupted{false};

// FAISS asks the one instance that it knows.
struct Interrupt : faiss::InterruptCallback {
    bool want_interrupt() override { return interrupted.load(std::memory_order_relaxed); }
};

const bool installed = (faiss::InterruptCallback::instance.reset(new Interrupt), true);

faiss::IndexIVF& need_ivf(const FaissIndex* p) {
    auto ivf = dynamic_cast<const faiss::IndexIVF*>(cpp(p));
    FAISS_THROW_IF_NOT_MSG(ivf, "not an IVF index");
    return *const_cast<faiss::IndexIVF*>(ivf);
}

size_t bytes(const faiss::Index* p) {
    if (auto ivf = dynamic_cast<const faiss::IndexIVF*>(p))
        return list_bytes(*ivf) + (ivf->quantizer ? bytes(ivf->quantizer) : 0);
    if (auto flat = dynamic_cast<const faiss::IndexFlatCodes*>(p)) return size_t(flat->ntotal) * flat->code_size;
    if (auto map = dynamic_cast<const faiss::IndexIDMap*>(p))
        return bytes(map->index) + map->id_map.size() * sizeof(idx_t);
    if (auto chain = dynamic_cast<const faiss::IndexPreTransform*>(p)) return bytes(chain->index);
    return size_t(p->ntotal) * p->d * sizeof(float);
}

// A rotation trains a product quantiser in each of its rounds: FAISS's 50 rounds on 65,536 rows take many times as long
// as all other training, and these find as much. 100 rows a centroid are enough for product quantisers, too.
void limit_training(faiss::Index* index) {
    const int rounds = 12, per_centroid = 50;
    if (auto chain = dynamic_cast<faiss::IndexPreTransform*>(index))
        for (auto transform : chain->chain)
            if (auto opq = dynamic_cast<faiss::OPQMatrix*>(transform)) {
                opq->niter = opq->niter_pq_0 = rounds;
                opq->max_train_points = per_centroid * 256;
            }
    if (auto ivfpq = dynamic_cast<faiss::IndexIVFPQ*>(find_ivf(index))) ivfpq->pq.cp.max_points_per_centroid = 2 * per_centroid;
}

} // namespace

namespace gofaiss {

int fail(int code, const char* what) {
    std::lock_guard<std::mutex> lock(error_mutex);
    error_text = what;
    return code;
}

const faiss::IndexIVF* find_ivf(const faiss::Index* p) {
    for (;;) {
        if (auto ivf = dynamic_cast<const faiss::IndexIVF*>(p)) return ivf;
        if (auto map = dynamic_cast<const faiss::IndexIDMap*>(p))
            p = map->index;
        else if (auto chain = dynamic_cast<const faiss::IndexPreTransform*>(p))
            p = chain->index;
        else
            return nullptr;
    }
}

faiss::IndexIVF* find_ivf(faiss::Index* p) {
    return const_cast<faiss::IndexIVF*>(find_ivf(static_cast<const faiss::Index*>(p)));
}

} // namespace gofaiss

extern "C" {

const char* faiss_get_last_error(void) {
    thread_local std::string copy; // another thread may fail while the caller reads
    std::lock_guard<std::mutex> lock(error_mutex);
    copy = error_text;
    return copy.c_str();
}

const char* faiss_get_version(void) {
#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)
    return TEXT(FAISS_VERSION_MAJOR) "." TEXT(FAISS_VERSION_MINOR) "." TEXT(FAISS_VERSION_PATCH);
}

void faiss_interrupt(int stop) { interrupted.store(stop != 0, std::memory_order_relaxed); }

void faiss_set_omp_threads(unsigned int n) { omp_set_num_threads(int(n)); }

void faiss_fvec_renorm_L2(size_t d, size_t nx, float* x) { faiss::fvec_renorm_L2(d, nx, x); }

// Any index

int faiss_index_factory(FaissIndex** out, int d, const char* description, FaissMetricType metric) {
    return guard([&] {
        auto index = faiss::index_factory(d, description, faiss::MetricType(metric));
        limit_training(index);
        *out = handle(index);
    });
}

int faiss_train_with_centroids(const char* path, int d, const char* description, FaissMetricType metric, size_t nlist,
                               const float* centroids, idx_t n, const float* x) {
    return guard([&] {
        std::unique_ptr<faiss::Index> index(faiss::index_factory(d, description, faiss::MetricType(metric)));
        auto ivf = dynamic_cast<faiss::IndexIVF*>(index.get());
        FAISS_THROW_IF_NOT_MSG(ivf && ivf->nlist == nlist, "not an IVF index of so many lists");
        ivf->quantizer->train(nlist, centroids);
        ivf->quantizer->add(nlist, centroids);
        if (auto graph = dynamic_cast<faiss::IndexHNSW*>(ivf->quantizer)) graph->hnsw.efSearch = 64;
        index->train(n, x); // finds that the quantizer is full, and trains the codes only
        faiss::write_index(index.get(), path);
    });
}

void faiss_Index_free(FaissIndex* index) { delete cpp(index); }

int faiss_Index_d(const FaissIndex* index) { return cpp(index)->d; }

int faiss_Index_is_trained(const FaissIndex* index) { return cpp(index)->is_trained; }

idx_t faiss_Index_ntotal(const FaissIndex* index) { return cpp(index)->ntotal; }

FaissMetricType faiss_Index_metric_type(const FaissIndex* index) {
    return FaissMetricType(cpp(index)->metric_type);
}

int faiss_Index_train(FaissIndex* index, idx_t n, const float* x) {
    return guard([&] { cpp(index)->train(n, x); });
}

int faiss_Index_add(FaissIndex* index, idx_t n, const float* x) {
    return guard([&] { cpp(index)->add(n, x); });
}

int faiss_Index_add_with_ids(FaissIndex* index, idx_t n, const float* x, const idx_t* ids) {
    return guard([&] { cpp(index)->add_with_ids(n, x, ids); });
}

int faiss_Index_search(const FaissIndex* index, idx_t n, const float* x, idx_t k, float* distances, idx_t* ids) {
    return guard([&] { cpp(index)->search(n, x, k, distances, ids); });
}

int faiss_Index_search_with_params(const FaissIndex* index, idx_t n, const float* x, idx_t k,
                                   const FaissSearchParameters* params, float* distances, idx_t* ids) {
    return guard([&] { cpp(index)->search(n, x, k, distances, ids, cpp(params)); });
}

int faiss_Index_range_search(const FaissIndex* index, idx_t n, const float* x, float radius,
                             FaissRangeSearchResult* result) {
    return guard([&] { cpp(index)->range_search(n, x, radius, cpp(result)); });
}

int faiss_Index_reconstruct(const FaissIndex* index, idx_t key, float* out) {
    return guard([&] { cpp(index)->reconstruct(key, out); });
}

int faiss_Index_reconstruct_batch(const FaissIndex* index, idx_t n, const idx_t* keys, float* out) {
    return guard([&] { cpp(index)->reconstruct_batch(n, keys, out); });
}

int faiss_Index_reset(FaissIndex* index) {
    return guard([&] { cpp(index)->reset(); });
}

int faiss_Index_remove_ids(FaissIndex* index, const FaissIDSelector* selector, size_t* removed) {
    return guard([&] {
        size_t n = cpp(index)->remove_ids(*cpp(selector));
        if (removed) *removed = n;
    });
}

int faiss_Index_merge_from(FaissIndex* index, FaissIndex* other, idx_t add_id) {
    return guard([&] {
        cpp(index)->check_compatible_for_merge(*cpp(other)); // 1.7.3 does not check by itself everywhere
        cpp(index)->merge_from(*cpp(other), add_id);
    });
}

int faiss_Index_dist_compute(const FaissIndex* index, const float* query, const idx_t* ids, size_t n,
                             float* distances) {
    return guard([&] {
        const faiss::Index* p = cpp(index);
        bool inner = p->metric_type == faiss::METRIC_INNER_PRODUCT;
        FAISS_THROW_IF_NOT_MSG(inner || p->metric_type == faiss::METRIC_L2, "only for inner product and L2");
        std::vector<float> row(p->d);
        for (size_t i = 0; i < n; i++) {
            p->reconstruct(ids[i], row.data());
            distances[i] = inner ? faiss::fvec_inner_product(query, row.data(), p->d)
                                 : faiss::fvec_L2sqr(query, row.data(), p->d);
        }
    });
}

size_t faiss_Index_size(const FaissIndex* index) {
    size_t n = 0;
    guard([&] { n = bytes(cpp(index)); });
    return n;
}

// Casts and kinds. A failed dynamic_cast gives a null of the subclass, whose base pointer is null too.

FaissIndexFlat* faiss_IndexFlat_cast(FaissIndex* index) {
    return handle(dynamic_cast<faiss::IndexFlat*>(cpp(index)));
}

// As upstream: only an index that is itself IVF, not one beneath a wrapper.
FaissIndexIVF* faiss_IndexIVF_cast(FaissIndex* index) {
    return handle(dynamic_cast<faiss::IndexIVF*>(cpp(index)));
}

FaissIndexScalarQuantizer* faiss_IndexScalarQuantizer_cast(FaissIndex* index) {
    return handle(dynamic_cast<faiss::IndexScalarQuantizer*>(cpp(index)));
}

FaissIndexIDMap2* faiss_IndexIDMap2_cast(FaissIndex* index) {
    return handle(dynamic_cast<faiss::IndexIDMap2*>(cpp(index)));
}

int faiss_IndexFlat_new_with(FaissIndexFlat** out, idx_t d, FaissMetricType metric) {
    return guard([&] { *out = handle(new faiss::IndexFlat(d, faiss::MetricType(metric))); });
}

void faiss_IndexFlat_xb(FaissIndexFlat* index, float** xb, size_t* size) {
    auto flat = static_cast<faiss::IndexFlat*>(cpp(index));
    *xb = flat->get_xb();
    *size = size_t(flat->ntotal) * flat->d;
}

FaissIndex* faiss_IndexIDMap2_sub_index(FaissIndexIDMap2* index) {
    return handle(static_cast<faiss::IndexIDMap2*>(cpp(index))->index);
}

// IVF. go-faiss hands some of these a pointer that it has not cast, so each looks up the type.

size_t faiss_IndexIVF_nlist(const FaissIndexIVF* index) {
    auto ivf = find_ivf(cpp(index));
    return ivf ? ivf->nlist : 0;
}

size_t faiss_IndexIVF_nprobe(const FaissIndexIVF* index) {
    auto ivf = find_ivf(cpp(index));
    return ivf ? ivf->nprobe : 0;
}

void faiss_IndexIVF_set_nprobe(FaissIndexIVF* index, size_t nprobe) {
    if (auto ivf = find_ivf(cpp(index))) ivf->nprobe = nprobe;
}

int faiss_IndexIVF_set_direct_map(FaissIndexIVF* index, int type) {
    return guard([&] { need_ivf(index).set_direct_map_type(faiss::DirectMap::Type(type)); });
}

int faiss_IndexIVF_list_vector_count(const FaissIndexIVF* index, idx_t* counts, size_t nlist,
                                     const FaissSearchParameters* params) {
    return guard([&] { count_rows(need_ivf(index), counts, nlist, params); });
}

int faiss_IndexIVF_search_closest_eligible_centroids(const FaissIndexIVF* index, idx_t n, const float* x, idx_t k,
                                                     float* distances, idx_t* ids,
                                                     const FaissSearchParameters* params) {
    return guard([&] { need_ivf(index).quantizer->search(n, x, k, distances, ids, cpp(params)); });
}

int faiss_IndexIVF_search_preassigned_with_params(const FaissIndexIVF* index, idx_t n, const float* x, idx_t k,
                                                  const idx_t* assign, const float* centroid_distances,
                                                  float* distances, idx_t* ids, int store_pairs,
                                                  const FaissSearchParametersIVF* params) {
    return guard([&] {
        auto ivf_params = dynamic_cast<const faiss::SearchParametersIVF*>(cpp(params));
        need_ivf(index).search_preassigned(n, x, k, assign, centroid_distances, distances, ids, store_pairs,
                                           ivf_params);
    });
}

int faiss_IndexIVF_get_centroids_and_cardinality(const FaissIndexIVF* index, float* centroids,
                                                 size_t* cardinalities, idx_t* ids) {
    return guard([&] { describe_lists(need_ivf(index), centroids, cardinalities, ids); });
}

int faiss_Set_quantizers(FaissIndexIVF* target, FaissIndex* source) {
    return guard([&] {
        faiss::IndexIVF &to = need_ivf(target), &from = need_ivf(source);
        FAISS_THROW_IF_NOT_MSG(to.d == from.d && to.nlist == from.nlist && to.code_size == from.code_size,
                               "the two IVF indexes differ in shape");
        auto to_sq = dynamic_cast<faiss::IndexIVFScalarQuantizer*>(&to);
        auto from_sq = dynamic_cast<faiss::IndexIVFScalarQuantizer*>(&from);
        FAISS_THROW_IF_NOT_MSG(!to_sq == !from_sq, "the two IVF indexes differ in kind");
        std::unique_ptr<faiss::Index> quantizer(faiss::clone_index(from.quantizer));
        if (to_sq) {
            to_sq->sq = from_sq->sq;
            to_sq->by_residual = from_sq->by_residual;
        }
        if (to.own_fields) delete to.quantizer;
        to.quantizer = quantizer.release();
        to.own_fields = true;
        to.is_trained = from.is_trained;
    });
}

} // extern "C"
