adeff <- dataset("adeff")
adeff <- adeff[is(adeff$ABLFL, "Y") | is(adeff$ANL01FL, "Y"), ]
adeff <- adeff[is(adeff$SAFFL, "Y"), ]
everyone <- unique(adeff$USUBJID)
measures <- @MEASURES@
instruments <- @INSTRUMENTS@
higher_is_better <- @HIGHER@
spans <- @SPANS@
cuts <- @CUTS@
scores <- @SCORES@
enzymes <- @ENZYMES@
multiples <- @MULTIPLES@
if (any(adeff$PARAMCD %in% enzymes & !is.na(adeff$AVALC))) stop("An enzyme is known as a bound: scores are ranges.")
value <- function(code, week, column = "AVAL") {
  rows <- adeff[adeff$PARAMCD == code, ]
  rows <- rows[if (week == 0) is(rows$ABLFL, "Y") else is(rows$AVISITN, as.character(week)) & !is(rows$ABLFL, "Y"), ]
  number(rows[[column]])[match(everyone, rows$USUBJID)]
}
ratio <- function(code, week) {
  limit <- value(code, week, "ANRHI")
  ifelse(!is.na(limit) & limit > 0, value(code, week) / limit, NA)
}
start <- matrix(sapply(enzymes, ratio, 0), nrow = length(everyone))
followed <- apply(round(start, 12), 1, function(row) if (all(is.na(row))) NA else which.max(row))
score <- function(measure, percent)
  scores[[measure]][1 + rowSums(outer(round(percent, 9), cuts[[measure]], ">"))]
change <- function(i, week) {
  if (measures[i] == "enzyme") {
    here <- matrix(sapply(enzymes, ratio, week), nrow = length(everyone))
    pick <- cbind(seq_along(everyone), followed)
    return(100 * (start[pick] - here[pick]) / multiples[followed])
  }
  gain <- value(instruments[i], week) - value(instruments[i], 0)
  100 * (if (higher_is_better[i]) gain else -gain) / spans[i]
}
levels <- @LEVELS@
for (week in @WEEKS@) {
  parts <- sapply(seq_along(measures), function(i) score(measures[i], change(i, week)))
  parts <- matrix(parts, ncol = length(measures))
  total <- rowSums(parts)
  known <- total[!is.na(total)]
  place <- paste0("/results/week=", week)
  show(paste0(place, "/evaluable"), length(known))
  show(paste0(place, "/bounded"), sum(is.na(total) & rowSums(!is.na(parts)) > 0))
  show(paste0(place, "/score/mean"), if (length(known)) mean(known))
  show(paste0(place, "/score/sd"), if (length(known) > 1) sd(known))
  show(paste0(place, "/score/median"), if (length(known)) median(known))
  for (name in names(levels)) {
    row <- paste0(place, "/levels/level=", name)
    show(paste0(row, "/responders"), sum(known >= levels[name]))
    show_rate(row, sum(known >= levels[name]), length(known))
  }
}
