/* Trees: an ordered map from numbers to values of mixed size under insert and erase (a treap, after
 * Aragon and Seidel, 1989), and complete binary trees that are built, walked and dropped. */
#include "workloads.h"

#include <stdlib.h>

enum { KEYS = 200000, TREE_DEPTH = 14 };

struct node {
    struct node *left, *right;
    uint64_t priority;
    struct block *value;
    uint32_t key;
};

static struct node *node_new(struct tally *tally, uint32_t key, struct block *value)
{
    struct node *node = malloc(sizeof *node);

    if (!node) {
        die("malloc returned null");
    }
    *node = (struct node){.value = value, .key = key};
    struct random random = {key};
    node->priority = random_next(&random);
    tally->operations++;
    return node;
}

static void node_drop(struct tally *tally, struct node *node)
{
    block_drop(tally, node->value);
    free(node);
    tally->operations++;
}

/* Parts a treap into the keys below `key` and the others. */
static void split(struct node *root, uint32_t key, struct node **below, struct node **others)
{
    while (root) {
        if (root->key < key) {
            *below = root;
            below = &root->right;
            root = root->right;
        } else {
            *others = root;
            others = &root->left;
            root = root->left;
        }
    }
    *below = *others = NULL;
}

static struct node **find(struct node **link, uint32_t key)
{
    while (*link && (*link)->key != key) {
        link = key < (*link)->key ? &(*link)->left : &(*link)->right;
    }
    return link;
}

static void insert(struct node **link, struct node *node)
{
    while (*link && (*link)->priority >= node->priority) {
        link = node->key < (*link)->key ? &(*link)->left : &(*link)->right;
    }
    split(*link, node->key, &node->left, &node->right);
    *link = node;
}

/* Unlinks *link by merging its two sides in its place. */
static struct node *unlink_node(struct node **link)
{
    struct node *gone = *link, *left = gone->left, *right = gone->right;

    while (left && right) {
        if (left->priority > right->priority) {
            *link = left;
            link = &left->right;
            left = left->right;
        } else {
            *link = right;
            link = &right->left;
            right = right->left;
        }
    }
    *link = left ? left : right;
    return gone;
}

static void change_map(struct tally *tally, struct random *random, unsigned n_steps)
{
    struct node *root = NULL;

    for (unsigned i = 0; i < n_steps; i++) {
        uint64_t drawn = random_next(random);
        uint32_t key = pick_below(drawn, KEYS);
        struct node **link = find(&root, key);
        if (*link) {
            node_drop(tally, unlink_node(link));
        } else {
            struct block *value = block_new(tally, pick_size(drawn, 16, 120), drawn);
            insert(&root, node_new(tally, key, value));
        }
    }
    while (root) {
        node_drop(tally, unlink_node(&root));
    }
}

static struct node *build(struct tally *tally, unsigned depth)
{
    struct node *node = node_new(tally, depth, NULL);

    tally->born += depth;
    if (depth > 0) {
        node->left = build(tally, depth - 1);
        node->right = build(tally, depth - 1);
    }
    return node;
}

static void tear_down(struct tally *tally, struct node *node)
{
    if (!node) {
        return;
    }
    tear_down(tally, node->left);
    tear_down(tally, node->right);
    tally->died += node->key;
    node_drop(tally, node);
}

struct outcome trees_run(double scale)
{
    struct outcome outcome = {0};
    struct random random = {9};
    unsigned n_trees = scaled(150, scale);

    change_map(&outcome.tally, &random, scaled(1200000, scale));
    for (unsigned i = 0; i < n_trees; i++) {
        tear_down(&outcome.tally, build(&outcome.tally, TREE_DEPTH));
    }
    return outcome;
}
