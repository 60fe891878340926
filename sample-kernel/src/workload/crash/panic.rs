//! `crash-panic`: the server finds its own books wrong and gives up, with a message.

use core::hint::black_box;

use super::frontend::Request;

/// A booking.
struct Transaction {
    account: u32,
    debit: i64,
    credit: i64,
    kind: Kind,
}

/// What it is for.
#[expect(dead_code, reason = "read by debuggers")]
enum Kind {
    Deposit { amount: i64 },
    Transfer { from: u32, to: u32, amount: i64 },
    Close,
}

#[inline(never)]
pub(super) fn apply_transaction(request: &Request) -> u64 {
    let transaction = Transaction {
        account: 17,
        debit: 1250,
        credit: 1200,
        kind: Kind::Transfer { from: 17, to: 4, amount: 1250 },
    };
    let note = Some(&request.path);
    black_box((&transaction, &note));
    let balance = post_to_ledger(black_box(&transaction), 3);
    black_box((&transaction.kind, &note, request));
    balance.unsigned_abs()
}

#[inline(never)]
fn post_to_ledger(transaction: &Transaction, shard: usize) -> i64 {
    let mut balances = [100_i64, 200, 300, 400, 500];
    balances[shard] -= transaction.debit;
    black_box(&mut balances);
    check_balance(transaction, balances[shard]);
    black_box((&balances, transaction, shard));
    balances[shard]
}

#[inline(never)]
fn check_balance(transaction: &Transaction, balance: i64) {
    let &Transaction { account, debit, credit, .. } = transaction;
    if debit != credit {
        panic!("ledger out of balance: account {account}, debit {debit}, credit {credit}, balance {balance}");
    }
}
